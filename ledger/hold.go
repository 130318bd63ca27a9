package ledger

// Hold keeps the ledger as it is until release is called: it waits for the
// leaves that are being appended, and later calls of Append wait for it. For
// backups; it should last seconds.
func (l *Ledger) Hold() (release func()) {
	l.still.Lock()
	l.settling.Wait() // also for those whose callers gave up
	return l.still.Unlock
}
