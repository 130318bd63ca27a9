package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/secret"
)

// hint is what an error means and what to do, in both languages.
type hint struct{ en, ja string }

// complain prints why a command failed, and what to do where that is known. A
// sentence of the catalogue says it all; its key is not for people.
func complain(w io.Writer, command string, err error) {
	h, ok := explain(err)
	if f := (*fault.Error)(nil); ok && errors.As(err, &f) {
		fmt.Fprintf(w, "sonae %s: %s\n  %s\n", command, h.en, h.ja)
		return
	}
	fmt.Fprintf(w, "sonae %s: %v\n", command, err)
	if ok {
		fmt.Fprintf(w, "  %s\n  %s\n", h.en, h.ja)
	}
}

// explain finds what to say about an error.
func explain(err error) (hint, bool) {
	var f *fault.Error
	if errors.As(err, &f) && i18n.Has("fault."+f.Key) {
		in := func(lang string) string { return i18n.T(lang, "fault."+f.Key, i18n.Args(lang, f.Args)) }
		return hint{in(i18n.English), in(i18n.Japanese)}, true
	}
	for _, t := range []struct {
		is error
		hint
	}{
		{errNoKey, hint{"Give the hub's public key, or the file with it (ledger-key.txt in the hub's folder), with --key.",
			"ハブの公開鍵、またはそのファイル(ハブのフォルダーの ledger-key.txt)を --key で指定してください。"}},
		{errKey, hint{"A key looks like sonae+1a2b3c4d+…; copy it whole.", "公開鍵は sonae+1a2b3c4d+… の形です。全部を写してください。"}},
		{syscall.EADDRINUSE, hint{"Another program, perhaps another hub, uses this port: stop it, or choose another with --listen, --agents or --local.",
			"このポートは別のプログラム(別のハブかもしれません)が使っています。それを止めるか、--listen、--agents、--local で別のポートを指定してください。"}},
		{syscall.ENOSPC, hint{"The disk is full: make room, then start again. Nothing that was acknowledged is lost.",
			"ディスクがいっぱいです。空きを作ってから起動し直してください。受け取り済みの記録は失われません。"}},
		{secret.ErrPassphrase, hint{"Give the file with the right passphrase with --passphrase.", "--passphrase で、正しい合言葉のファイルを指定してください。"}},
		{secret.ErrSealed, hint{"The keys are sealed: give the file with the passphrase with --passphrase.", "鍵は合言葉で守られています。--passphrase で合言葉のファイルを指定してください。"}},
		{fs.ErrPermission, hint{"This user may not read or write there: use the user who owns the folder, or choose another folder with --dir.",
			"この利用者には、そこを読み書きする権限がありません。フォルダーの持ち主で実行するか、--dir で別のフォルダーを指定してください。"}},
		{fs.ErrNotExist, hint{"Check the path.", "パスを確かめてください。"}},
	} {
		if errors.Is(err, t.is) {
			return t.hint, true
		}
	}
	return hint{}, false
}

// parsed reads flags; when it says false the command ends with that status.
func parsed(flags *flag.FlagSet, args []string) (status int, goOn bool) {
	switch err := flags.Parse(args); {
	case err == nil:
		return 0, true
	case errors.Is(err, flag.ErrHelp):
		return 0, false
	}
	return 2, false
}
