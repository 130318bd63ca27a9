//go:build !windows

package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// secrets hands passwords to a program through pipes.
type secrets struct {
	ends  []*os.File // those of the program
	write []*os.File
	words []string
}

// pass readies a pipe and returns the argument that names its end.
func (s *secrets) pass(cmd *exec.Cmd, password string, _ bool) ([]string, error) {
	fd, err := s.pipe(cmd, password)
	return []string{"--password-file", fd}, err
}

// passFrom is pass for the other repository of a copy.
func (s *secrets) passFrom(cmd *exec.Cmd, from Repo) ([]string, error) {
	password, err := s.pipe(cmd, from.Password)
	if err != nil {
		return nil, err
	}
	url, err := s.pipe(cmd, from.URL)
	return []string{"--from-password-file", password, "--from-repository-file", url}, err
}

func (s *secrets) pipe(cmd *exec.Cmd, word string) (string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	s.ends, s.write, s.words = append(s.ends, r), append(s.write, w), append(s.words, word)
	cmd.ExtraFiles = append(cmd.ExtraFiles, r)
	return fmt.Sprint("/dev/fd/", 2+len(cmd.ExtraFiles)), nil
}

// hand writes the passwords once the program runs. They are shorter than what a
// pipe holds, so that nothing waits.
func (s *secrets) hand() {
	for i, w := range s.write {
		_, _ = io.WriteString(w, s.words[i]+"\n") // a program that has ended already says so itself
		_ = w.Close()
	}
	for _, r := range s.ends {
		_ = r.Close()
	}
	s.ends, s.write = nil, nil
}

// close drops what was not handed over.
func (s *secrets) close() error {
	var errs []error
	for _, f := range append(s.ends, s.write...) {
		errs = append(errs, f.Close())
	}
	s.ends, s.write = nil, nil
	return errors.Join(errs...)
}

// setGroup keeps signals of a terminal away: the caller decides when restic ends.
func setGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
