package main

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"syscall"

	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/act"
	"github.com/sonae/sonae/agent/act/contain"
	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// say is what an error means and what to do, in both languages.
type say struct{ en, ja string }

// refusals of the hub, by the key that it answers with.
var refusals = map[string]say{
	"asset.token-used":         {"The token was used before. A token works once only: ask for a new one.", "この登録コードはすでに使われています。登録コードは1回だけ使えます。新しいコードを発行してもらってください。"},
	"asset.token-expired":      {"The token has expired or was revoked: ask for a new one.", "この登録コードは期限が切れているか、取り消されています。新しいコードを発行してもらってください。"},
	"asset.token-unknown":      {"The hub does not know this token: copy it again, or ask for a new one.", "ハブはこの登録コードを知りません。写し直すか、新しいコードを発行してもらってください。"},
	"asset.host-untrusted":     {"The hub no longer trusts this machine: ask an administrator, then enrol again.", "この機器はハブの登録から外されています。管理者に確認し、必要なら登録し直してください。"},
	"agentlink.too-many-tries": {"Too many tries from this address: wait a minute.", "このアドレスからの試行が多すぎます。1分待ってからやり直してください。"},
	"agentlink.no-certificate": {"The hub did not see this machine's certificate; something between may take TLS apart.", "ハブに証明書が届いていません。途中の装置が通信を中継していないか確認してください。"},
	"agentlink.certificate":    {"The certificate is not this machine's: enrol again.", "証明書がこの機器のものではありません。登録し直してください。"},
	"asset.name":               {"The name of this machine cannot be used: give another with --name.", "この機器の名前は使えません。--name で別の名前を指定してください。"},
	"agentlink.internal":       {"The hub had a problem of its own: look into its log.", "ハブの内部で問題が起きました。ハブの記録を確認してください。"},
}

// explain finds what to say about an error.
func explain(err error) (say, bool) {
	var r *link.Refused
	if errors.As(err, &r) {
		s, ok := refusals[r.Key]
		return s, ok
	}
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	for _, t := range []struct {
		is bool
		say
	}{
		{errors.Is(err, wire.ErrToken), say{"The token is incomplete: copy the whole line from the page of the hub.", "登録コードが途中で切れているか、間違っています。ハブの画面から1行すべてを写してください。"}},
		{errors.Is(err, link.ErrAuthority), say{"Whoever answers there is not the hub of this token. Nothing was sent. Check the address, then ask your administrator.", "応答した相手は、このコードを発行したハブではありません。何も送信していません。アドレスを確かめ、管理者に連絡してください。"}},
		{errors.Is(err, link.ErrEnrolled), say{"To enrol again, stop the agent and remove identity.json from its directory.", "登録し直すには、エージェントを止め、ディレクトリの identity.json を消してください。"}},
		{errors.Is(err, link.ErrNotEnrolled), say{"Run sonae-agent enroll with a token from the hub first.", "先に、ハブで発行した登録コードで sonae-agent enroll を実行してください。"}},
		{errors.Is(err, agent.ErrNotRunning), say{"Start it with sonae-agent run, or the service of that name.", "sonae-agent run、または同名のサービスを起動してください。"}},
		{errors.Is(err, act.ErrNotIsolated), say{"Nothing on this machine is contained: there is nothing to release.", "この機器では、隔離も個別の措置も行われていません。解除するものはありません。"}},
		{errors.Is(err, act.ErrWrongCode) || errors.Is(err, contain.ErrWrongCode), say{"Compare with the printed sheet. After five wrong codes it takes ten minutes.", "印刷した紙と見比べてください。5回間違えると、10分間受け付けません。"}},
		{errors.Is(err, errNoCode), say{"Type the code of the printed sheet. This did not count as a wrong code.", "印刷した紙の解除コードを入力してください。今の入力は、間違いの回数に数えていません。"}},
		{errors.Is(err, act.ErrTooMany) || errors.Is(err, contain.ErrTooMany), say{"Wait ten minutes, or let the hub release it.", "10分待つか、ハブから解除してください。"}},
		{errors.Is(err, errRunning), say{"Another agent uses this directory.", "ほかのエージェントがこのディレクトリを使っています。"}},
		{errors.Is(err, fs.ErrPermission), say{"Run it as root.", "root で実行してください。"}},
		{errors.As(err, &unknown), say{"The hub shows the certificate of another authority. Ask your administrator before you enrol again.", "ハブの証明書の発行元が登録時と違います。登録し直す前に、管理者に確認してください。"}},
		{errors.As(err, &dns), say{"The hub's name cannot be resolved: give its address with --hub https://ADDRESS:PORT.", "ハブの名前を解決できません。--hub https://アドレス:ポート の形で指定してください。"}},
		{errors.Is(err, syscall.ECONNREFUSED), say{"Nobody listens there: check the address, and whether the hub runs.", "その宛先では何も動いていません。アドレスと、ハブが動いているかを確認してください。"}},
		{errors.Is(err, context.DeadlineExceeded), say{"The hub does not answer: check the network between.", "ハブから応答がありません。途中のネットワークを確認してください。"}},
	} {
		if t.is {
			return t.say, true
		}
	}
	return say{}, false
}
