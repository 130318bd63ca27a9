package api

import (
	"context"
	"net/http"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/protect/vault"
)

// addTool is the operation that takes a whole program.
const addTool = "add-protect-tool"

// ToolIn is a program as it is sent. (Exported like Paging.)
type ToolIn struct {
	File    string `query:"file" maxLength:"100" doc:"what it is called"`
	Version string `query:"version" maxLength:"20" doc:"used where the program does not say its own"`
	Why     string `query:"why" required:"true" minLength:"1" maxLength:"1000" doc:"where it is from"`
	RawBody []byte `contentType:"application/octet-stream"`
}

func toolRule[I identified](s *server, v auth.Verb) rule[I] {
	return rule[I]{v, vaultKind, func(ctx context.Context, _ auth.Person, in *I) ([]need, error) {
		t, err := s.Vault.ToolByID(ctx, (*in).of())
		return []need{{v, auth.Resource{Kind: vaultKind, ID: t.ID, RequestedBy: t.AskedBy}}}, err
	}}
}

func (s *server) toolOperations() {
	register(s, operation{"list-protect-tools", http.MethodGet, "/protect/tools", "restic for machines whose own is missing or too old, newest first", 0}, rule[none]{auth.ProtectSee, vaultKind, anywhere[none]},
		func(ctx context.Context, _ auth.Person, _ *none) (*body[page[vault.Tool]], error) {
			all, err := s.Vault.Tools(ctx)
			return paged(all, len(all)), err
		})
	register(s, operation{addTool, http.MethodPost, "/protect/tools", "Bring a restic; another person approves it. It is read and never run here", http.StatusCreated}, rule[ToolIn]{auth.Administer, vaultKind, anywhere[ToolIn]},
		func(ctx context.Context, who auth.Person, in *ToolIn) (*body[vault.Tool], error) {
			t, err := s.Vault.AddTool(ctx, in.File, in.Version, in.Why, in.RawBody, who)
			return &body[vault.Tool]{t}, err
		})
	register(s, operation{"approve-protect-tool", http.MethodPost, "/protect/tools/{id}/approve", "Let machines fetch a tool that somebody else brought", 0}, toolRule[ByID](s, auth.Approve),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.Vault.ApproveTool(ctx, in.ID, who)
		})
	register(s, operation{"stop-protect-tool", http.MethodPost, "/protect/tools/{id}/stop", "Refuse a tool, or take it back", 0}, toolRule[reasoned](s, auth.Release),
		func(ctx context.Context, who auth.Person, in *reasoned) (*none, error) {
			return nil, s.Vault.StopTool(ctx, in.ID, in.Body.Reason, who)
		})
}
