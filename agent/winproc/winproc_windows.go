// Package winproc tells what a process on Windows is.
//
// In: a process id. Out: image, command line, user, start. Always true: only
// reads; what may not be read is empty; handles are closed.
package winproc

import (
	"time"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Process is one process as it is now.
type Process struct {
	PID, Parent int
	Image       string // full path; the name alone when the process may not be opened
	Command     string
	User        string // DOMAIN\name
	Start       time.Time
}

// maxCommand bounds a command line, in UTF-16 units.
const maxCommand = 32 << 10

// List returns id, parent and the name of the image of all processes.
func List() ([]Process, error) {
	snap, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPPROCESS, 0)
	if err != nil {
		return nil, err
	}
	defer windows.CloseHandle(snap)
	var out []Process
	e := windows.ProcessEntry32{Size: uint32(unsafe.Sizeof(windows.ProcessEntry32{}))}
	for err = windows.Process32First(snap, &e); err == nil; err = windows.Process32Next(snap, &e) {
		out = append(out, Process{PID: int(e.ProcessID), Parent: int(e.ParentProcessID), Image: windows.UTF16ToString(e.ExeFile[:])})
	}
	if err == windows.ERROR_NO_MORE_FILES {
		err = nil
	}
	return out, err
}

// Fill adds to p what only an open process tells.
func Fill(p Process) Process {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(p.PID))
	if err != nil {
		return p
	}
	defer windows.CloseHandle(h)
	var path [windows.MAX_LONG_PATH]uint16
	n := uint32(len(path))
	if windows.QueryFullProcessImageName(h, 0, &path[0], &n) == nil {
		p.Image = windows.UTF16ToString(path[:n])
	}
	p.Command = commandOf(h, p.PID)
	p.User = userOf(h)
	var created, exited, kernel, user windows.Filetime
	if windows.GetProcessTimes(h, &created, &exited, &kernel, &user) == nil {
		p.Start = time.Unix(0, created.Nanoseconds()).UTC()
	}
	return p
}

// commandOf asks for ProcessCommandLineInformation, which Windows 8.1 and
// later answer, else looks into the process itself.
func commandOf(h windows.Handle, pid int) string {
	words := make([]uint16, 4096)
	for {
		size := uint32(2 * len(words))
		err := windows.NtQueryInformationProcess(h, windows.ProcessCommandLineInformation, unsafe.Pointer(&words[0]), size, &size)
		if err == windows.STATUS_INFO_LENGTH_MISMATCH && len(words) < maxCommand {
			words = make([]uint16, 4*len(words))
			continue
		}
		if err != nil {
			return commandIn(pid)
		}
		// The text follows the header; its length stands in front, in bytes.
		text := int(words[0]) / 2
		header := int(unsafe.Sizeof(windows.NTUnicodeString{})) / 2
		return string(utf16.Decode(words[min(header, len(words)):min(header+text, len(words))]))
	}
}

// commandIn reads the command line from the parameters of the process, which
// it can change itself.
func commandIn(pid int) string {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_INFORMATION|windows.PROCESS_VM_READ, false, uint32(pid))
	if err != nil {
		return ""
	}
	defer windows.CloseHandle(h)
	var basic windows.PROCESS_BASIC_INFORMATION
	var n uint32
	if windows.NtQueryInformationProcess(h, windows.ProcessBasicInformation, unsafe.Pointer(&basic), uint32(unsafe.Sizeof(basic)), &n) != nil {
		return ""
	}
	var peb windows.PEB
	var par windows.RTL_USER_PROCESS_PARAMETERS
	read := func(at, into unsafe.Pointer, size uintptr) bool {
		var got uintptr
		return at != nil && windows.ReadProcessMemory(h, uintptr(at), (*byte)(into), size, &got) == nil && got == size
	}
	if !read(unsafe.Pointer(basic.PebBaseAddress), unsafe.Pointer(&peb), unsafe.Offsetof(peb.ProcessParameters)+unsafe.Sizeof(peb.ProcessParameters)) ||
		!read(unsafe.Pointer(peb.ProcessParameters), unsafe.Pointer(&par), unsafe.Offsetof(par.CommandLine)+unsafe.Sizeof(par.CommandLine)) {
		return ""
	}
	words := make([]uint16, min(int(par.CommandLine.Length)/2, maxCommand))
	if len(words) == 0 || !read(unsafe.Pointer(par.CommandLine.Buffer), unsafe.Pointer(&words[0]), uintptr(2*len(words))) {
		return ""
	}
	return string(utf16.Decode(words))
}

func userOf(h windows.Handle) string {
	var t windows.Token
	if windows.OpenProcessToken(h, windows.TOKEN_QUERY, &t) != nil {
		return ""
	}
	defer t.Close()
	u, err := t.GetTokenUser()
	if err != nil {
		return ""
	}
	name, domain, _, err := u.User.Sid.LookupAccount("")
	if err != nil {
		return u.User.Sid.String()
	}
	return domain + `\` + name
}
