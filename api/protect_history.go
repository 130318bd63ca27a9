package api

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/protect/history"
)

// BackupHistory is what the operations need from protect/history.
type BackupHistory interface {
	List(ctx context.Context, f history.Filter) ([]history.Line, int, error)
}

// BackupHistoryLine is a line with its sentence.
type BackupHistoryLine struct {
	history.Line
	Text string `json:"text" doc:"in the language that was asked for"`
}

type historyList struct {
	Paging
	HistoryChoice
}

type historyFile struct{ HistoryChoice }

// HistoryChoice chooses lines of the history of backups.
type HistoryChoice struct {
	Site  string    `query:"site" maxLength:"32"`
	Host  string    `query:"host" maxLength:"100"`
	Class string    `query:"class" maxLength:"100" doc:"id of a class of data"`
	Kind  string    `query:"kind" enum:"backup,missed,doubt,cut,repository,copy,medium,drill,restore,clean,rule"`
	Bad   bool      `query:"bad" doc:"only what somebody must look at"`
	From  time.Time `query:"from" doc:"seven days before until when absent"`
	Until time.Time `query:"until" doc:"not within; now when absent"`
	Lang  string    `query:"lang" enum:"ja,en" doc:"ja when absent"`
}

func (c HistoryChoice) filter(who auth.Person) history.Filter {
	return history.Filter{Site: siteOr(c.Site, who), Host: c.Host, Class: c.Class, Kind: history.Kind(c.Kind), Bad: c.Bad, From: c.From, Until: c.Until}
}

func (s *server) historyOperations() {
	register(s, operation{"list-backup-history", http.MethodGet, "/protect/history", "What happened to backups, incident or not, the newest first", 0}, ofProtectSite(func(in *historyList) string { return in.Site }), s.listBackupHistory)
	register(s, operation{"export-backup-history", http.MethodGet, "/protect/history.csv", "The same as a spreadsheet", 0}, ofProtectSite(func(in *historyFile) string { return in.Site }), s.exportBackupHistory)
}

func (s *server) listBackupHistory(ctx context.Context, who auth.Person, in *historyList) (*body[page[BackupHistoryLine]], error) {
	f := in.filter(who)
	f.Limit, f.Offset = in.Limit, in.Offset
	all, total, err := s.BackupHistory.List(ctx, f)
	if err != nil {
		return nil, err
	}
	n, err := s.historyNames(ctx, f.Site)
	if err != nil {
		return nil, err
	}
	return paged(each(all, func(l history.Line) BackupHistoryLine {
		return BackupHistoryLine{l, l.Entry().Say(langOr(in.Lang), i18n.T, n.Args(l.Args))}
	}), total), nil
}

func (s *server) exportBackupHistory(ctx context.Context, who auth.Person, in *historyFile) (*csvOut, error) {
	f := in.filter(who)
	all, _, err := s.BackupHistory.List(ctx, f)
	if err != nil {
		return nil, err
	}
	n, err := s.historyNames(ctx, f.Site)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := history.WriteCSV(&b, all, n, langOr(in.Lang)); err != nil {
		return nil, err
	}
	return &csvOut{"text/csv; charset=utf-8", `attachment; filename="backup-history.csv"`, b.Bytes()}, nil
}

func langOr(lang string) string {
	if lang == "" {
		return i18n.Japanese
	}
	return lang
}

// historyNames says what people call what lines name.
func (s *server) historyNames(ctx context.Context, site string) (history.Names, error) {
	names := map[string]string{}
	people, err := s.People.People(ctx)
	if err != nil {
		return history.Names{}, err
	}
	for _, p := range people {
		names[p.ID] = p.Name
	}
	sites, err := s.Assets.Sites(ctx)
	if err != nil {
		return history.Names{}, err
	}
	for _, x := range sites {
		names[x.ID] = x.Name
	}
	classes, err := s.BackupPolicies.Classes(ctx, site)
	if err != nil {
		return history.Names{}, err
	}
	for _, c := range classes {
		names[c.ID] = c.Name
	}
	named := func(id string) string {
		if id == "" || names[id] != "" {
			return names[id]
		}
		return id
	}
	host := func(id string) string {
		if h, err := s.Assets.Host(ctx, id); err == nil && h.Name != "" {
			return h.Name
		}
		return id
	}
	args := func(args map[string]string) map[string]string {
		out := map[string]string{}
		for _, v := range args {
			for id := range strings.SplitSeq(v, ", ") {
				out[id] = named(id)
				if strings.HasPrefix(id, "ho-") {
					out[id] = host(id)
				}
			}
		}
		return out
	}
	return history.Names{Site: named, Host: host, Class: named, Args: args}, nil
}
