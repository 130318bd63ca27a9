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

	marked

	firstTime, lastTime = timeName, received
	firstHost, lastHost = host, nodeName
)

// markOf tells what a name is good for.
func markOf(name []byte) int {
	if len(name) < 2 || len(name) > 24 {
		return none
	}
	switch string(name) {
	case "time":
		return timeName
	case "@timestamp":
		return atTimestamp
	case "timestamp":
		return timestamp
	case "UtcTime":
		return utcTime
	case "TimeCreated":
		return timeCreated
	case "EventTime":
		return eventTime
	case "ts":
		return ts
	case "eventTime":
		return cloudTime
	case "CreationTime":
		return creationTime
	case "published":
		return published
	case "requestReceivedTimestamp":
		return received
	case "host":
		return host
	case "hostname":
		return hostname
	case "Hostname":
		return bigHostname
	case "Computer":
		return bigComputer
	case "computer":
		return computer
	case "host.name":
		return hostName
	case "winlog.computer_name":
		return winlogComputer
	case "_HOSTNAME":
		return nodeName
	case "kind":
		return kind
	case "product":
		return product
	case "category":
		return category
	case "service":
		return service
	case "Channel":
		return channel
	case "EventID":
		return eventID
	case "SourceName", "Provider_Name":
		return sourceName
	case "winlog.channel":
		return winlogChannel
	case "winlog.event_id":
		return winlogID
	case "winlog.provider_name":
		return winlogProvider
	}
	return markOfOthers(name)
}

// markOfOthers is apart, for most objects are events of Windows.
func markOfOthers(name []byte) int {
	switch string(name) {
	case "event_type":
		return eventType
	case "flow_id":
		return flowID
	case "in_iface":
		return inIface
	case "src_ip":
		return srcIP
	case "_path":
		return path
	case "uid":
		return uid
	case "id.orig_h":
		return origHost
	case "__REALTIME_TIMESTAMP":
		return realtime
	case "eventVersion":
		return eventVersion
	case "eventSource":
		return eventSource
	case "eventName":
		return eventName
	case "awsRegion":
		return awsRegion
	case "Operation":
		return operation
	case "Workload":
		return workload
	case "RecordType":
		return recordType
	case "logName":
		return logName
	case "protoPayload.methodName":
		return methodName
	case "actor.alternateId":
		return actorID
	case "operationName":
		return operationName
	case "resourceId":
		return resourceID
	case "tenantId":
		return tenantID
	case "apiVersion":
		return apiVersion
	case "verb":
		return verb
	case "action":
		return action
	case "actor":
		return actor
	case "_document_id":
		return documentID
	case "logtype":
		return logtype
	case "node_id":
		return nodeID
	case "riskEventType":
		return riskEventType
	}
	return none
}
