package baseline

import "strings"

// vendors are domains whose makers' programs call home in a steady rhythm:
// updates, telemetry, licences, protection, presence. The name is what the
// client asked for and could be a lie; such a lie is seen by what is sent
// (exfiltration), not by the rhythm. Domains under which anybody can rent a
// place do not stand here.
var vendors = []string{
	"windowsupdate.com", "microsoft.com", "msftconnecttest.com", "msftncsi.com", "office.com", "office365.com", "outlook.com", "live.com", "skype.com",
	"microsoftonline.com", "windows.com", "msedge.net", "digicert.com", "apple.com", "icloud.com", "mozilla.com", "mozilla.org", "firefox.com",
	"gvt1.com", "gstatic.com", "adobe.com", "trendmicro.com", "trendmicro.co.jp", "sophos.com", "eset.com", "kaspersky.com", "symantec.com", "mcafee.com",
	"crowdstrike.com", "sentinelone.net", "bitdefender.com", "ubuntu.com", "debian.org", "redhat.com", "canonical.com", "vmware.com", "nvidia.com",
	"intel.com", "dell.com", "hp.com", "lenovo.com", "ntp.org", "letsencrypt.org", "lencr.org",
}

func vendor(name string) bool { return name != "" && below(name, vendors) }

// reputations are domains below which protection software asks for the
// reputation of files and addresses, with the digest in the name.
var reputations = []string{"sophosxl.net", "mcafee.com", "e5.sk", "spamhaus.org", "barracudacentral.org", "surbl.org", "uribl.com", "sorbs.net", "trendmicro.com",
	"akamaiedge.net", "akadns.net", "cloudfront.net", "amazonaws.com", "azureedge.net", "trafficmanager.net", "windows.net", "msedge.net", "office.com",
	"googleusercontent.com", "gvt1.com", "googlevideo.com"}

func reputation(name string) bool { return below(name, reputations) }

func below(name string, domains []string) bool {
	for _, d := range domains {
		if rest, ok := strings.CutSuffix(strings.ToLower(name), d); ok && (rest == "" || strings.HasSuffix(rest, ".")) {
			return true
		}
	}
	return false
}
