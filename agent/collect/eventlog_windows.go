package collect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/sonae/sonae/source/tail"
)

// channels of the Windows event log that are followed. Those that a machine
// lacks are left out by Windows.
func channels() []string {
	return []string{"Security", "System", "Application", "Windows PowerShell",
		"Microsoft-Windows-PowerShell/Operational", "Microsoft-Windows-Sysmon/Operational",
		"Microsoft-Windows-Windows Defender/Operational", "Microsoft-Windows-TaskScheduler/Operational",
		"Microsoft-Windows-TerminalServices-LocalSessionManager/Operational", "Microsoft-Windows-WMI-Activity/Operational",
		"Microsoft-Windows-Windows Firewall With Advanced Security/Firewall", "Microsoft-Windows-SMBServer/Security",
		"Microsoft-Windows-DriverFrameworks-UserMode/Operational"}
}

// EventLog follows the Windows event log through EvtSubscribe, all channels in
// one subscription. After a restart it goes on at the bookmark.
type EventLog struct {
	said
	cfg Config
	api evtAPI
	pos *tail.Marks
}

const bookmarkKey = "bookmark"

// NewEventLog makes the collector.
func NewEventLog(cfg Config) *EventLog {
	l := &EventLog{cfg: cfg, api: newEvtAPI(), pos: tail.OpenMarks(cfg.Dir, "eventlog.json")}
	l.say("not started")
	return l
}

// Name implements Collector.
func (l *EventLog) Name() string { return "eventlog" }

// Run implements Collector.
func (l *EventLog) Run(ctx context.Context, q *Queue) error {
	for said := ""; ctx.Err() == nil; {
		err := l.follow(ctx, q)
		if ctx.Err() != nil {
			break
		}
		l.say("not followed: " + err.Error())
		if err.Error() != said {
			said = err.Error()
			l.cfg.Log.Warn("event log not followed, tried again", "err", err)
		}
		pause(ctx, subscribeAgain)
	}
	return l.pos.Close()
}

const (
	subscribeAgain = 15 * time.Second
	eventWait      = uint32(500) // ms: how often the end of ctx is looked for
	eventsAtOnce   = 64
)

// follow reads until ctx ends or the subscription breaks.
func (l *EventLog) follow(ctx context.Context, q *Queue) error {
	signal, err := windows.CreateEvent(nil, 1, 1, nil)
	if err != nil {
		return fmt.Errorf("event log: %w", err)
	}
	defer windows.CloseHandle(signal)
	mark, err := l.api.bookmark(l.pos.Get(bookmarkKey))
	if err != nil { // unreadable: begin now
		l.cfg.Log.Warn("bookmark of the event log", "err", err)
		if mark, err = l.api.bookmark(""); err != nil {
			return err
		}
	}
	defer l.api.close(mark)
	sub, err := l.api.subscribe(signal, query(channels()), mark, l.pos.Get(bookmarkKey) != "")
	if err != nil {
		return err
	}
	defer l.api.close(sub)
	l.say(fmt.Sprintf("Windows event log, up to %d channels", len(channels())))
	var w winReader
	for ctx.Err() == nil {
		if s, err := windows.WaitForSingleObject(signal, eventWait); err != nil {
			return fmt.Errorf("event log: wait: %w", err)
		} else if s == uint32(windows.WAIT_TIMEOUT) {
			l.save()
			continue
		}
		if err := windows.ResetEvent(signal); err != nil {
			return fmt.Errorf("event log: %w", err)
		}
		if err := l.read(ctx, q, sub, mark, &w); err != nil {
			return err
		}
		l.save()
	}
	return ctx.Err()
}

func (l *EventLog) save() {
	if err := l.pos.Save(l.cfg.Now()); err != nil {
		l.cfg.Log.Error("position in the event log", "err", err)
	}
}

// read takes what there is.
func (l *EventLog) read(ctx context.Context, q *Queue, sub, mark windows.Handle, w *winReader) error {
	for {
		found, err := l.api.next(sub)
		if err != nil || len(found) == 0 {
			return err
		}
		for i, h := range found {
			err := l.one(ctx, q, h, mark, w)
			l.api.close(h)
			if err != nil {
				for _, rest := range found[i+1:] {
					l.api.close(rest)
				}
				return err
			}
		}
		if text, err := l.api.render(mark, evtRenderBookmark); err == nil {
			l.pos.Set(bookmarkKey, text)
		}
	}
}

func (l *EventLog) one(ctx context.Context, q *Queue, h, mark windows.Handle, w *winReader) error {
	xml, err := l.api.render(h, evtRenderEventXML)
	if err != nil {
		l.cfg.Log.Warn("event of the event log not rendered", "err", err)
		return l.api.update(mark, h)
	}
	e, why := w.event([]byte(xml), l.cfg.Now())
	if why != "" {
		l.cfg.Log.Warn("event of the event log is damaged", "why", why, "record", e.Fields["EventRecordID"], "channel", e.Fields["Channel"])
	}
	if !q.Wait(ctx, e) {
		return ctx.Err()
	}
	return l.api.update(mark, h)
}

// query selects everything in the channels.
func query(channels []string) string {
	var b strings.Builder
	b.WriteString(`<QueryList><Query Id="0">`)
	for _, c := range channels {
		fmt.Fprintf(&b, `<Select Path="%s">*</Select>`, c)
	}
	b.WriteString(`</Query></QueryList>`)
	return b.String()
}

// evtAPI is what of wevtapi.dll is used ("Windows Event Log functions").
type evtAPI struct {
	subscribeProc, nextProc, renderProc, createBookmark, updateBookmark, closeProc *windows.LazyProc
}

func newEvtAPI() evtAPI {
	dll := windows.NewLazySystemDLL("wevtapi.dll")
	return evtAPI{dll.NewProc("EvtSubscribe"), dll.NewProc("EvtNext"), dll.NewProc("EvtRender"),
		dll.NewProc("EvtCreateBookmark"), dll.NewProc("EvtUpdateBookmark"), dll.NewProc("EvtClose")}
}

// Flags of winevt.h.
const (
	evtSubscribeToFutureEvents     = 1
	evtSubscribeStartAfterBookmark = 3
	evtRenderEventXML              = 1
	evtRenderBookmark              = 2
)

func (a evtAPI) bookmark(xml string) (windows.Handle, error) {
	if err := a.createBookmark.Find(); err != nil {
		return 0, fmt.Errorf("event log: %w", err)
	}
	var text *uint16
	if xml != "" {
		var err error
		if text, err = windows.UTF16PtrFromString(xml); err != nil {
			return 0, fmt.Errorf("event log bookmark: %w", err)
		}
	}
	h, _, err := a.createBookmark.Call(uintptr(unsafe.Pointer(text)))
	if h == 0 {
		return 0, fmt.Errorf("event log bookmark: %w", err)
	}
	return windows.Handle(h), nil
}

func (a evtAPI) subscribe(signal windows.Handle, query string, mark windows.Handle, after bool) (windows.Handle, error) {
	text, err := windows.UTF16PtrFromString(query)
	if err != nil {
		return 0, fmt.Errorf("event log query: %w", err)
	}
	flags := uintptr(evtSubscribeToFutureEvents)
	from := uintptr(0)
	if after {
		flags, from = evtSubscribeStartAfterBookmark, uintptr(mark)
	}
	h, _, err := a.subscribeProc.Call(0, uintptr(signal), 0, uintptr(unsafe.Pointer(text)), from, 0, 0, flags)
	if h == 0 {
		return 0, fmt.Errorf("subscribe to the event log: %w", err)
	}
	return windows.Handle(h), nil
}

// next returns events without waiting; none is no error.
func (a evtAPI) next(sub windows.Handle) ([]windows.Handle, error) {
	var found [eventsAtOnce]windows.Handle
	var n uint32
	ok, _, err := a.nextProc.Call(uintptr(sub), eventsAtOnce, uintptr(unsafe.Pointer(&found[0])), 0, 0, uintptr(unsafe.Pointer(&n)))
	if ok == 0 && !errors.Is(err, windows.ERROR_NO_MORE_ITEMS) && !errors.Is(err, windows.ERROR_TIMEOUT) {
		return nil, fmt.Errorf("read the event log: %w", err)
	}
	return found[:min(int(n), eventsAtOnce)], nil
}

// render returns an event or a bookmark as XML.
func (a evtAPI) render(h windows.Handle, what uintptr) (string, error) {
	words := make([]uint16, 8<<10)
	for {
		var used, properties uint32
		ok, _, err := a.renderProc.Call(0, uintptr(h), what, uintptr(2*len(words)), uintptr(unsafe.Pointer(&words[0])), uintptr(unsafe.Pointer(&used)), uintptr(unsafe.Pointer(&properties)))
		switch {
		case ok != 0:
			return strings.TrimRight(string(utf16.Decode(words[:min(int(used/2), len(words))])), "\x00"), nil
		case errors.Is(err, windows.ERROR_INSUFFICIENT_BUFFER) && int(used) > 2*len(words) && used <= 2*maxWinEvent:
			words = make([]uint16, used/2+1)
		default:
			return "", fmt.Errorf("render: %w", err)
		}
	}
}

func (a evtAPI) update(mark, h windows.Handle) error {
	if ok, _, err := a.updateBookmark.Call(uintptr(mark), uintptr(h)); ok == 0 {
		return fmt.Errorf("event log bookmark: %w", err)
	}
	return nil
}

func (a evtAPI) close(h windows.Handle) { _, _, _ = a.closeProc.Call(uintptr(h)) }
