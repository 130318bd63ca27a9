package main

import "github.com/sonae/sonae/event"

// row is an event as the peers keep it: what is asked for often in columns,
// the rest by name.
type row struct {
	code, user, process, parent, command, file, source, sourcePort, destination, destinationPort string
	transport, application, sent, received, hash                                                 string
	rest                                                                                         map[string]string
}

func rowOf(e *event.Event) row {
	r := row{rest: map[string]string{}}
	for name, value := range e.Fields {
		switch name {
		case "EventID":
			r.code = value
		case event.FieldUser:
			r.user = value
		case event.FieldImage:
			r.process = value
		case "ParentImage":
			r.parent = value
		case event.FieldCommand:
			r.command = value
		case "TargetFilename":
			r.file = value
		case event.FieldSrcIP:
			r.source = value
		case event.FieldSrcPort:
			r.sourcePort = value
		case event.FieldDstIP:
			r.destination = value
		case event.FieldDstPort:
			r.destinationPort = value
		case event.FieldProtocol:
			r.transport = value
		case event.FieldApp:
			r.application = value
		case event.FieldSent:
			r.sent = value
		case event.FieldReceived:
			r.received = value
		case "Hashes":
			r.hash = value
		default:
			r.rest[name] = value
		}
	}
	return r
}
