package ui

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/vault"
	"github.com/sonae/sonae/ui/view"
)

// toolPages is the address of the tools, and where a program is sent.
const toolPages = "/protect/tools"

func (c *call) tools() (screen, error) {
	all, err := c.Vault.Tools(c.ctx())
	if err != nil {
		return screen{}, err
	}
	p := c.page("protect", c.t("protect.tool.title"))
	return screen{page: p, body: view.Tools(p, protectPages(), all)}, nil
}

func (c *call) addTool() (string, error) {
	if err := c.must(auth.Administer, protects("", "", "")); err != nil {
		return "", err
	}
	if err := c.r.ParseMultipartForm(1 << 20); err != nil && !errors.Is(err, http.ErrNotMultipart) {
		return "", formFault(err)
	}
	f, head, err := c.r.FormFile("file")
	if err != nil {
		return "", fault.New(fault.Invalid, "vault.tool-unknown").With(err)
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, vault.MaxTool+1))
	if err != nil {
		return "", fmt.Errorf("read a tool: %w", err)
	}
	_, err = c.Vault.AddTool(c.ctx(), head.Filename, c.form("version"), c.form("tool-why"), body, c.who)
	return toolPages + "?done=vault-asked", err
}

func (c *call) approveTool() (string, error) {
	t, err := c.Vault.ToolByID(c.ctx(), c.r.PathValue("tool"))
	if err != nil {
		return "", err
	}
	if err := c.must(auth.Approve, protects(t.ID, "", t.AskedBy)); err != nil {
		return "", err
	}
	return toolPages + "?done=vault-approved", c.Vault.ApproveTool(c.ctx(), t.ID, c.who)
}

func (c *call) stopTool() (string, error) {
	t, err := c.Vault.ToolByID(c.ctx(), c.r.PathValue("tool"))
	if err != nil {
		return "", err
	}
	if err := c.must(auth.Release, protects(t.ID, "", t.AskedBy)); err != nil {
		return "", err
	}
	return toolPages + "?done=vault-ended", c.Vault.StopTool(c.ctx(), t.ID, c.form("reason"), c.who)
}
