// Package bpf holds the telemetry's programs for the kernel, as they were
// built.
//
// In: telemetry.bpf.c, through tools/bpf.sh (make does it). Out: the object for
// this architecture. Always true: a build without clang holds none and says
// so; then processes are seen through the process connector or /proc.
package bpf

import (
	"embed"
	"errors"
	"runtime"
)

//go:embed all:obj
var built embed.FS

// ErrNotBuilt says that this program was built without the kernel's part.
var ErrNotBuilt = errors.New("this program was built without eBPF (make bpf), or not for this processor")

// Object is the ELF object with the programs.
func Object() ([]byte, error) {
	b, err := built.ReadFile("obj/telemetry_" + runtime.GOARCH + ".o")
	if err != nil {
		return nil, ErrNotBuilt
	}
	return b, nil
}
