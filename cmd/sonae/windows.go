package main

import (
	"strings"

	"github.com/sonae/sonae/event"
)

// channels maps the Windows channels that rules are written for to Sigma's
// services.
var channels = map[string]string{
	"microsoft-windows-sysmon/operational": "sysmon", "security": "security", "system": "system", "application": "application",
	"microsoft-windows-powershell/operational": "powershell", "windows powershell": "powershell-classic",
	"microsoft-windows-wmi-activity/operational": "wmi", "microsoft-windows-taskscheduler/operational": "taskscheduler",
	"microsoft-windows-windows defender/operational": "windefend", "microsoft-windows-bits-client/operational": "bits-client",
	"directory service": "ldap", "microsoft-windows-ntlm/operational": "ntlm",
	"microsoft-windows-windows firewall with advanced security/firewall": "firewall-as",
}

// categories maps service and event number to Sigma's categories.
var categories = map[string]map[string][]string{
	"sysmon": {
		"1": {"process_creation"}, "2": {"file_change"}, "3": {"network_connection"}, "4": {"sysmon_status"},
		"5": {"process_termination"}, "6": {"driver_load"}, "7": {"image_load"}, "8": {"create_remote_thread"},
		"9": {"raw_access_thread"}, "10": {"process_access"}, "11": {"file_event"},
		"12": {"registry_event", "registry_add", "registry_delete"}, "13": {"registry_event", "registry_set"},
		"14": {"registry_event", "registry_rename"}, "15": {"create_stream_hash"}, "17": {"pipe_created"}, "18": {"pipe_created"},
		"19": {"wmi_event"}, "20": {"wmi_event"}, "21": {"wmi_event"}, "22": {"dns_query"}, "23": {"file_delete"},
		"24": {"clipboard_change"}, "25": {"process_tampering"}, "26": {"file_delete"}, "29": {"file_executable_detected"},
		"255": {"sysmon_error"},
	},
	"security":           {"4688": {"process_creation"}},
	"powershell":         {"4103": {"ps_module"}, "4104": {"ps_script"}},
	"powershell-classic": {"400": {"ps_classic_start"}, "600": {"ps_classic_provider_start"}},
}

// windows gives exported Windows events their log source, the names that rules
// use, and the categories.
func windows(e *event.Event) []string {
	channel := e.Fields["Channel"]
	if channel == "" {
		return nil
	}
	e.Product, e.Service = "windows", channels[strings.ToLower(channel)]
	e.Category = ""
	for to, from := range map[string]string{"Provider_Name": "SourceName", "Computer": "Hostname"} {
		rename(e.Fields, to, from)
	}
	id := e.Fields["EventID"]
	if e.Service == "security" && id == "4688" {
		rename(e.Fields, "Image", "NewProcessName")
		rename(e.Fields, "ParentImage", "ParentProcessName")
	}
	return categories[e.Service][id]
}

func rename(fields map[string]string, to, from string) {
	if v, ok := fields[from]; ok && fields[to] == "" {
		fields[to] = v
	}
}
