package bus

import "time"

// after is a cause that says when it is worth trying again. Whoever answers a
// sender finds it with errors.As and an interface that has RetryAfter.
type after struct {
	wait time.Duration
	err  error
}

func (a after) RetryAfter() time.Duration { return a.wait }
func (a after) Unwrap() error             { return a.err }
func (a after) Error() string {
	if a.err == nil {
		return "try again in " + a.wait.String()
	}
	return a.err.Error()
}
