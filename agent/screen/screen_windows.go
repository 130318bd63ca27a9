package screen

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/sonae/sonae/action/order"
)

// Config is empty here: Windows knows its sessions.
type Config struct{}

// Screen shows notes by WTSSendMessage. It is safe for concurrent use.
type Screen struct{ send, ask *windows.LazyProc }

// New returns the Screen of this machine.
func New(Config) *Screen {
	dll := windows.NewLazySystemDLL("wtsapi32.dll")
	return &Screen{send: dll.NewProc("WTSSendMessageW"), ask: dll.NewProc("WTSQuerySessionInformationW")}
}

// What WTSSendMessage and WTSQuerySessionInformation take and answer, see
// winuser.h and wtsapi32.h. A box has the button OK alone: its label is
// Windows' own, in the language of the session.
const (
	boxStyle    = 0x0 | 0x40000 | 0x10000 // MB_OK, MB_TOPMOST, MB_SETFOREGROUND
	boxWarning  = 0x30                    // MB_ICONWARNING
	boxInform   = 0x40                    // MB_ICONINFORMATION
	pressedOK   = 1                       // IDOK
	wtsUserName = 5
	wtsActive   = 0 // WTSActive: somebody is logged in and connected
)

// Show shows a note on every session and waits until all of them are gone, at
// most n.For. tell is called from one goroutine at a time. It does not end
// earlier with ctx: Windows takes a box away by its own clock.
func (s *Screen) Show(_ context.Context, n order.Note, tell func(Sign)) error {
	n.Title, n.Text = clean(n.Title, maxTitle), clean(n.Text, maxText)
	ids, err := sessions()
	if err != nil {
		return fmt.Errorf("screen: list sessions: %w", err)
	}
	var mu sync.Mutex
	say := func(g Sign) {
		mu.Lock()
		defer mu.Unlock()
		tell(g)
	}
	errs := make([]error, len(ids))
	var all sync.WaitGroup
	for i, id := range ids {
		all.Go(func() { errs[i] = s.box(id, n, say) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// sessions lists those that somebody works at.
func sessions() ([]uint32, error) {
	var first *windows.WTS_SESSION_INFO
	var count uint32
	if err := windows.WTSEnumerateSessions(0, 0, 1, &first, &count); err != nil {
		return nil, err
	}
	defer windows.WTSFreeMemory(uintptr(unsafe.Pointer(first)))
	var out []uint32
	for _, s := range unsafe.Slice(first, count) {
		if s.State == wtsActive {
			out = append(out, s.SessionID)
		}
	}
	return out, nil
}

// box shows one box, and waits for it.
func (s *Screen) box(id uint32, n order.Note, say func(Sign)) error {
	at := Sign{Session: fmt.Sprintf("session %d", id), User: s.user(id)}
	title, err := windows.UTF16FromString(n.Title)
	if err != nil {
		return err
	}
	text, err := windows.UTF16FromString(n.Text)
	if err != nil {
		return err
	}
	style := uintptr(boxStyle | boxInform)
	if n.Urgent {
		style = boxStyle | boxWarning
	}
	say(at)
	var answer uint32
	ok, _, err := s.send.Call(0, uintptr(id), uintptr(unsafe.Pointer(&title[0])), uintptr(2*(len(title)-1)), uintptr(unsafe.Pointer(&text[0])), uintptr(2*(len(text)-1)),
		style, uintptr(n.For/time.Second), uintptr(unsafe.Pointer(&answer)), 1)
	if ok == 0 {
		return fmt.Errorf("screen: %s: %w", at.Session, err)
	}
	if answer == pressedOK {
		at.Seen = true
		say(at)
	}
	return nil
}

func (s *Screen) user(id uint32) string {
	var name *uint16
	var size uint32
	if ok, _, _ := s.ask.Call(0, uintptr(id), wtsUserName, uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&size))); ok == 0 {
		return ""
	}
	defer windows.WTSFreeMemory(uintptr(unsafe.Pointer(name)))
	return windows.UTF16PtrToString(name)
}
