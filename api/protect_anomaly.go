package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/protect/anomaly"
)

// Anomalies is what the operations need from protect/anomaly.
type Anomalies interface {
	List(ctx context.Context, site string) ([]anomaly.Series, error)
	Get(ctx context.Context, series string) (anomaly.Series, error)
	Snapshots(ctx context.Context, series string, limit, offset int) ([]anomaly.Snapshot, int, error)
	Snapshot(ctx context.Context, series, id string) (anomaly.Snapshot, error)
	Answer(ctx context.Context, series, id string, n anomaly.NewAnswer, by auth.Person) (anomaly.Snapshot, error)
	Propose(ctx context.Context, series string, begun time.Time, uncertain time.Duration) (anomaly.Proposal, error)
	Confirm(ctx context.Context, series string, n anomaly.NewCleanPoint, by auth.Person) (anomaly.CleanPoint, error)
	CleanPoints(ctx context.Context, series string) ([]anomaly.CleanPoint, error)
	Loss(ctx context.Context, series, snapshot string) (anomaly.Loss, error)
	ProposeClasses(ctx context.Context, site string) ([]anomaly.ClassProposal, error)
}

// AnomalyAnswerIn says whether what a snapshot shows was meant.
type AnomalyAnswerIn struct {
	Planned bool   `json:"planned" doc:"false of a question makes it a critical alert"`
	Reason  string `json:"reason" minLength:"1" maxLength:"500"`
	Ticket  string `json:"ticket,omitempty" maxLength:"100" doc:"number of the change"`
}

// AnomalyCleanPointIn confirms the last clean point.
type AnomalyCleanPointIn struct {
	Snapshot         string    `json:"snapshot" minLength:"64" maxLength:"64"`
	Begun            time.Time `json:"begun,omitempty" doc:"when the damage began, where people know it"`
	UncertainSeconds int       `json:"uncertain_seconds,omitempty" minimum:"0" maximum:"31536000" doc:"how much earlier it may have begun"`
	Reason           string    `json:"reason" minLength:"1" maxLength:"500"`
	Incident         string    `json:"incident,omitempty" maxLength:"100" doc:"whose chronology tells of it"`
}

type anomalySnapshots struct {
	ByID
	Paging
}

type anomalySnapshotWith[T any] struct {
	AnomalySnapshotID
	Body T
}

// AnomalySnapshotID names a snapshot of a series.
type AnomalySnapshotID struct {
	ByID
	Snapshot string `path:"snapshot" maxLength:"64"`
}

type anomalyProposal struct {
	ByID
	Begun            time.Time `query:"begun" doc:"when the damage began, where people know it"`
	UncertainSeconds int       `query:"uncertain_seconds" minimum:"0" maximum:"31536000"`
}

func (s *server) anomalyOperations() {
	register(s, operation{"list-backup-series", http.MethodGet, "/protect/snapshots", "Machines' folders with the score of their newest snapshot; those that need a person first", 0},
		one(auth.ProtectSee, "protect", func(_ context.Context, who auth.Person, in *deviceList) (auth.Resource, error) {
			return auth.Resource{Site: siteOr(in.Site, who)}, nil
		}),
		func(ctx context.Context, who auth.Person, in *deviceList) (*body[page[anomaly.Series]], error) {
			all, err := s.Anomalies.List(ctx, siteOr(in.Site, who))
			return paged(all, len(all)), err
		})
	register(s, operation{"list-scored-snapshots", http.MethodGet, "/protect/snapshots/{id}", "Snapshots of a series with their scores, the newest first", 0}, seriesRule[anomalySnapshots](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *anomalySnapshots) (*body[page[anomaly.Snapshot]], error) {
			all, total, err := s.Anomalies.Snapshots(ctx, in.ID, in.Limit, in.Offset)
			return paged(all, total), err
		})
	register(s, operation{"get-scored-snapshot", http.MethodGet, "/protect/snapshots/{id}/scores/{snapshot}", "One snapshot: which rules spoke, with numbers and files", 0}, seriesRule[AnomalySnapshotID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *AnomalySnapshotID) (*body[anomaly.Snapshot], error) {
			x, err := s.Anomalies.Snapshot(ctx, in.ID, in.Snapshot)
			return &body[anomaly.Snapshot]{x}, err
		})
	register(s, operation{"answer-scored-snapshot", http.MethodPost, "/protect/snapshots/{id}/scores/{snapshot}/answer", "Say whether what it shows was meant", 0}, seriesRule[anomalySnapshotWith[AnomalyAnswerIn]](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *anomalySnapshotWith[AnomalyAnswerIn]) (*body[anomaly.Snapshot], error) {
			x, err := s.Anomalies.Answer(ctx, in.ID, in.Snapshot, anomaly.NewAnswer(in.Body), who)
			return &body[anomaly.Snapshot]{x}, err
		})
	s.cleanOperations()
}

func (s *server) cleanOperations() {
	register(s, operation{"propose-class-clean-points", http.MethodGet, "/protect/clean-points", "What the hub would take as the clean points of each class of data in which a person is waited for", 0}, ofProtectSite(func(in *protectList) string { return in.Site }),
		func(ctx context.Context, who auth.Person, in *protectList) (*body[page[anomaly.ClassProposal]], error) {
			all, err := s.Anomalies.ProposeClasses(ctx, siteOr(in.Site, who))
			return paged(all, len(all)), err
		})
	register(s, operation{"propose-clean-point", http.MethodGet, "/protect/snapshots/{id}/clean-point", "What the hub would take as the last clean point, and why not the others", 0}, seriesRule[anomalyProposal](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *anomalyProposal) (*body[anomaly.Proposal], error) {
			p, err := s.Anomalies.Propose(ctx, in.ID, in.Begun, time.Duration(in.UncertainSeconds)*time.Second)
			return &body[anomaly.Proposal]{p}, err
		})
	register(s, operation{"confirm-clean-point", http.MethodPost, "/protect/snapshots/{id}/clean-point", "Confirm the last clean point", http.StatusCreated}, seriesRule[withBody[AnomalyCleanPointIn]](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *withBody[AnomalyCleanPointIn]) (*body[anomaly.CleanPoint], error) {
			c, err := s.Anomalies.Confirm(ctx, in.ID, anomaly.NewCleanPoint{Snapshot: in.Body.Snapshot, Begun: in.Body.Begun,
				Uncertain: time.Duration(in.Body.UncertainSeconds) * time.Second, Reason: in.Body.Reason, Incident: in.Body.Incident}, who)
			return &body[anomaly.CleanPoint]{c}, err
		})
	register(s, operation{"list-clean-points", http.MethodGet, "/protect/snapshots/{id}/clean-points", "Clean points that people confirmed, oldest first", 0}, seriesRule[ByID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[anomaly.CleanPoint]], error) {
			all, err := s.Anomalies.CleanPoints(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"snapshot-loss", http.MethodGet, "/protect/snapshots/{id}/scores/{snapshot}/loss", "Files that going back to it would cost, each with its last sound version", 0}, seriesRule[AnomalySnapshotID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *AnomalySnapshotID) (*body[anomaly.Loss], error) {
			l, err := s.Anomalies.Loss(ctx, in.ID, in.Snapshot)
			return &body[anomaly.Loss]{l}, err
		})
}

// seriesRule is the right to the backups of the site that a series belongs to.
func seriesRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, "protect", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		x, err := s.Anomalies.Get(ctx, (*in).of())
		return auth.Resource{ID: x.ID, Site: x.Site}, err
	})
}
