package record

import (
	"context"
	"log/slog"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/notify"
)

// People is what a reminder asks about whom it is for.
type People interface {
	Person(ctx context.Context, id string) (auth.Person, error)
}

// Name is what people call a person; the id of one who is unknown.
func Name(ctx context.Context, people People, id string) string {
	if p, err := people.Person(ctx, id); err == nil && p.Name != "" {
		return p.Name
	}
	return id
}

// lookEvery is how often somebody looks what is due.
const lookEvery = 10 * time.Second

// Watch tells what is due until ctx ends, the same again and again. Run it on
// one hub of all.
func Watch(ctx context.Context, log *slog.Logger, due func(context.Context) ([]notify.Cause, error), tell func(context.Context, notify.Cause) error) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := look(ctx, due, tell); err != nil && ctx.Err() == nil {
			log.Error("what is due is not told", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func look(ctx context.Context, due func(context.Context) ([]notify.Cause, error), tell func(context.Context, notify.Cause) error) error {
	causes, err := due(ctx)
	if err != nil {
		return err
	}
	for _, x := range causes {
		if err := tell(ctx, x); err != nil {
			return err
		}
	}
	return nil
}
