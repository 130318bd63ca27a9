package bus

// Headers of a dead letter.
const (
	deadSubject = "Sonae-Subject"
	deadReason  = "Sonae-Reason"
)
