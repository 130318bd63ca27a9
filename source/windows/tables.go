package windows

// names holds the names that Complete adds, as the bytes a pair wants.
var names = map[string][]byte{
	"Provider_Name": []byte("Provider_Name"), "Computer": []byte("Computer"),
	"Image": []byte("Image"), "ParentImage": []byte("ParentImage"),
	"Signature": []byte("Signature"), "Filename": []byte("Filename"),
}

// services maps channels, in lower case, to Sigma's services.
var services = map[string]string{
	"application": "application",
	"security":    "security",
	"system":      "system",

	"directory service":     "ldap",
	"dns server":            "dns-server",
	"msexchange management": "msexchange-management",
	"openssh/operational":   "openssh",
	"windows powershell":    "powershell-classic",

	"powershellcore/operational":                                               "powershell",
	"microsoft-windows-powershell/operational":                                 "powershell",
	"microsoft-windows-sysmon/operational":                                     "sysmon",
	"microsoft-iis-configuration/administrative":                               "iis-configuration",
	"microsoft-iis-configuration/analytic":                                     "iis-configuration",
	"microsoft-iis-configuration/debug":                                        "iis-configuration",
	"microsoft-iis-configuration/operational":                                  "iis-configuration",
	"microsoft-servicebus-client":                                              "microsoft-servicebus-client",
	"microsoft-servicebus-client/admin":                                        "microsoft-servicebus-client",
	"microsoft-servicebus-client/operational":                                  "microsoft-servicebus-client",
	"microsoft-windows-application-experience/program-compatibility-assistant": "application-experience",
	"microsoft-windows-application-experience/program-telemetry":               "application-experience",
	"microsoft-windows-applocker/exe and dll":                                  "applocker",
	"microsoft-windows-applocker/msi and script":                               "applocker",
	"microsoft-windows-applocker/packaged app-deployment":                      "applocker",
	"microsoft-windows-applocker/packaged app-execution":                       "applocker",
	"microsoft-windows-appmodel-runtime/admin":                                 "appmodel-runtime",
	"microsoft-windows-appxdeploymentserver/operational":                       "appxdeployment-server",
	"microsoft-windows-appxpackaging/operational":                              "appxpackaging-om",
	"microsoft-windows-bitlocker/bitlocker management":                         "bitlocker",
	"microsoft-windows-bits-client/operational":                                "bits-client",
	"microsoft-windows-capi2/operational":                                      "capi2",
	"microsoft-windows-certificateservicesclient-lifecycle-system/operational": "certificateservicesclient-lifecycle-system",
	"microsoft-windows-codeintegrity/operational":                              "codeintegrity-operational",
	"microsoft-windows-dhcp-server/operational":                                "dhcp",
	"microsoft-windows-diagnosis-scripted/operational":                         "diagnosis-scripted",
	"microsoft-windows-dns client events/operational":                          "dns-client",
	"microsoft-windows-dns-client/operational":                                 "dns-client",
	"microsoft-windows-dns-server/analytical":                                  "dns-server-analytic",
	"microsoft-windows-dns-server/audit":                                       "dns-server-audit",
	"microsoft-windows-driverframeworks-usermode/operational":                  "driver-framework",
	"microsoft-windows-hyper-v-worker":                                         "hyper-v-worker",
	"microsoft-windows-hyper-v-worker-admin":                                   "hyper-v-worker",
	"microsoft-windows-hyper-v-worker-operational":                             "hyper-v-worker",
	"microsoft-windows-kernel-eventtracing":                                    "kernel-event-tracing",
	"microsoft-windows-kernel-eventtracing/admin":                              "kernel-event-tracing",
	"microsoft-windows-kernel-shimengine/diagnostic":                           "kernel-shimengine",
	"microsoft-windows-kernel-shimengine/operational":                          "kernel-shimengine",
	"microsoft-windows-ldap-client/debug":                                      "ldap",
	"microsoft-windows-lsa/operational":                                        "lsa-server",
	"microsoft-windows-ntfs/operational":                                       "ntfs",
	"microsoft-windows-ntlm/operational":                                       "ntlm",
	"microsoft-windows-printservice/admin":                                     "printservice-admin",
	"microsoft-windows-printservice/operational":                               "printservice-operational",
	"microsoft-windows-security-mitigations/kernel mode":                       "security-mitigations",
	"microsoft-windows-security-mitigations/kernelmode":                        "security-mitigations",
	"microsoft-windows-security-mitigations/user mode":                         "security-mitigations",
	"microsoft-windows-security-mitigations/usermode":                          "security-mitigations",
	"microsoft-windows-shell-core/operational":                                 "shell-core",
	"microsoft-windows-smbclient/connectivity":                                 "smbclient-connectivity",
	"microsoft-windows-smbclient/security":                                     "smbclient-security",
	"microsoft-windows-smbserver/connectivity":                                 "smbserver-connectivity",
	"microsoft-windows-taskscheduler/operational":                              "taskscheduler",
	"microsoft-windows-terminalservices-localsessionmanager/operational":       "terminalservices-localsessionmanager",
	"microsoft-windows-vhdmp/operational":                                      "vhdmp",
	"microsoft-windows-vhdmp-operational":                                      "vhdmp",
	"microsoft-windows-windows defender/operational":                           "windefend",
	"microsoft-windows-windows firewall with advanced security/firewall":       "firewall-as",
	"microsoft-windows-wmi-activity/operational":                               "wmi",
}

// providers maps those providers, in lower case, that write to one channel
// only, for events whose channel was lost on the way.
var providers = map[string]string{
	"microsoft-windows-bits-client":       "bits-client",
	"microsoft-windows-codeintegrity":     "codeintegrity-operational",
	"microsoft-windows-powershell":        "powershell",
	"microsoft-windows-security-auditing": "security",
	"microsoft-windows-sysmon":            "sysmon",
	"microsoft-windows-taskscheduler":     "taskscheduler",
	"microsoft-windows-windows defender":  "windefend",
	"microsoft-windows-wmi-activity":      "wmi",
	"openssh":                             "openssh",
	"powershell":                          "powershell-classic",
	"powershellcore":                      "powershell",
	"service control manager":             "system",
}

// sysmon holds the categories of Sysmon's events by their number.
var sysmon = [...][]string{
	1:  {"process_creation"},
	2:  {"file_change"},
	3:  {"network_connection"},
	4:  {"sysmon_status"},
	5:  {"process_termination"},
	6:  {"driver_load"},
	7:  {"image_load"},
	8:  {"create_remote_thread"},
	9:  {"raw_access_thread"},
	10: {"process_access"},
	11: {"file_event"},
	12: {"registry_event", "registry_add", "registry_delete"},
	13: {"registry_event", "registry_set"},
	14: {"registry_event", "registry_rename"},
	15: {"create_stream_hash"},
	16: {"sysmon_status"},
	17: {"pipe_created"},
	18: {"pipe_created"},
	19: {"wmi_event"},
	20: {"wmi_event"},
	21: {"wmi_event"},
	22: {"dns_query"},
	23: {"file_delete"},
	24: {"clipboard_change"},
	25: {"process_tampering"},
	26: {"file_delete", "file_delete_detected"},
	27: {"file_block_executable"},
	28: {"file_block_shredding"},
	29: {"file_executable_detected"},

	255: {"sysmon_error"},
}

// Categories of the other services.
var (
	processCreation  = []string{"process_creation"}
	psModule         = []string{"ps_module"}
	psScript         = []string{"ps_script"}
	psClassicStart   = []string{"ps_classic_start"}
	psClassicStarted = []string{"ps_classic_provider_start"}
	psClassicScript  = []string{"ps_classic_script"}
	antivirus        = []string{"antivirus"}
)

func categoriesOf(service string, id int) []string {
	switch service {
	case "sysmon":
		if id >= 0 && id < len(sysmon) {
			return sysmon[id]
		}
	case "security":
		if id == 4688 {
			return processCreation
		}
	case "powershell", "powershell-classic":
		return powershell(id)
	case "windefend":
		switch id { // those that name a threat or a path
		case 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1017, 1018, 1019, 1115, 1116:
			return antivirus
		}
	}
	return nil
}

// powershell needs no service: the numbers of the two logs do not overlap.
func powershell(id int) []string {
	switch id {
	case 400:
		return psClassicStart
	case 600:
		return psClassicStarted
	case 800:
		return psClassicScript
	case 4103:
		return psModule
	case 4104:
		return psScript
	}
	return nil
}
