package jsonl

// What pairs tell shapes apart. Times and hosts stand in the order in which
// they are believed.
const (
	none = iota

	timeName
	atTimestamp
	timestamp
	utcTime
	timeCreated
	eventTime
	ts
	cloudTime
	creationTime
	published
	received

	host
	hostname
	bigHostname
	bigComputer
	computer
	hostName
	winlogComputer
	nodeName

	kind
	product
	category
	service
	channel
	eventID
	sourceName
	winlogChannel
	winlogID
	winlogProvider
	eventType
	flowID
	inIface
	srcIP
	path
	uid
	origHost
	realtime
	eventVersion
	eventSource
	eventName
	awsRegion
	operation
	workload
	recordType
	logName
	methodName
	actorID
	operationName
	resourceID
	tenantID
	apiVersion
	verb
	action
	actor
	documentID
	logtype
	nodeID
	riskEventType
	auditType

	marked

	firstTime, lastTime = timeName, received
	firstHost, lastHost = host, nodeName
)

// named is a name that tells something.
type named struct {
	name string
	mark int
}

// markers finds such names among many others: by the first byte and the
// length, which most names already fail.
type markers struct {
	lengths [256]uint32
	first   [256][]named
}

func newMarkers(list []named) *markers {
	m := &markers{}
	for _, n := range list {
		c := n.name[0]
		m.lengths[c] |= 1 << len(n.name)
		m.first[c] = append(m.first[c], n)
	}
	return m
}

// of tells what a name is good for.
func (m *markers) of(name []byte) int {
	if len(name) == 0 || len(name) > 31 || m.lengths[name[0]]&(1<<len(name)) == 0 {
		return none
	}
	for _, n := range m.first[name[0]] {
		if string(name) == n.name {
			return n.mark
		}
	}
	return none
}

// marks are all names that tell something.
var marks = newMarkers([]named{
	{"time", timeName}, {"@timestamp", atTimestamp}, {"timestamp", timestamp}, {"UtcTime", utcTime}, {"TimeCreated", timeCreated},
	{"EventTime", eventTime}, {"ts", ts}, {"eventTime", cloudTime}, {"CreationTime", creationTime}, {"published", published},
	{"requestReceivedTimestamp", received}, {"host", host}, {"hostname", hostname}, {"Hostname", bigHostname},
	{"Computer", bigComputer}, {"computer", computer}, {"host.name", hostName}, {"winlog.computer_name", winlogComputer},
	{"_HOSTNAME", nodeName}, {"kind", kind}, {"product", product}, {"category", category}, {"service", service},
	{"Channel", channel}, {"EventID", eventID}, {"SourceName", sourceName}, {"Provider_Name", sourceName},
	{"winlog.channel", winlogChannel}, {"winlog.event_id", winlogID}, {"winlog.provider_name", winlogProvider},
	{"event_type", eventType}, {"flow_id", flowID}, {"in_iface", inIface}, {"src_ip", srcIP}, {"_path", path}, {"uid", uid},
	{"id.orig_h", origHost}, {"__REALTIME_TIMESTAMP", realtime}, {"eventVersion", eventVersion}, {"eventSource", eventSource},
	{"eventName", eventName}, {"awsRegion", awsRegion}, {"Operation", operation}, {"Workload", workload},
	{"RecordType", recordType}, {"logName", logName}, {"protoPayload.methodName", methodName}, {"actor.alternateId", actorID},
	{"operationName", operationName}, {"resourceId", resourceID}, {"tenantId", tenantID}, {"apiVersion", apiVersion},
	{"verb", verb}, {"action", action}, {"actor", actor}, {"_document_id", documentID}, {"logtype", logtype}, {"node_id", nodeID},
	{"riskEventType", riskEventType}, {"auditType.action", auditType},
})
