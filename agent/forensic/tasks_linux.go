package forensic

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/sonae/sonae/action/order"
)

// tasks lists everything, most volatile first. Titles are for the custody
// sheet, which is read by people at the hospital.
func (c *Collector) tasks(o order.Order) []task {
	all := []task{
		small("clock/clock.json", "時計と起動の記録", "clock_gettime, /proc/uptime, /proc/sys/kernel/random/boot_id, /proc/version", c.clocks),
		c.command("clock/timedatectl.txt", "時刻同期の状態", "timedatectl", "show"),
		c.command("clock/chrony.txt", "時刻同期の状態（chrony）", "chronyc", "-n", "tracking"),
		c.file("session/utmp", "ログイン中の利用者", "/run/utmp"),
	}
	all = append(all, c.process(o.PID)...)
	all = append(all, small("process/list.jsonl", "すべてのプロセス", "/proc/*/{stat,status,cmdline,exe,cgroup}", processList),
		small("network/sockets.jsonl", "通信とそのプロセス", "/proc/net/{tcp,tcp6,udp,udp6}, /proc/*/fd", socketTable))
	for _, f := range []string{"tcp", "tcp6", "udp", "udp6", "raw", "raw6", "icmp", "unix", "packet", "arp", "route", "ipv6_route", "if_inet6", "dev", "nf_conntrack"} {
		all = append(all, c.file("network/proc-net/"+f+".txt", "通信の状態（"+f+"）", "/proc/net/"+f))
	}
	all = append(all,
		small("network/neighbours.jsonl", "近隣の機器（ARP・NDP）", "rtnetlink RTM_GETNEIGH", neighbours),
		small("network/interfaces.json", "ネットワークの口とアドレス", "rtnetlink RTM_GETLINK, RTM_GETADDR", interfaces),
		c.command("network/nft.json", "通信規則（nftables）", "nft", "-j", "list", "ruleset"),
		c.file("network/resolv.conf", "名前解決の設定", "/etc/resolv.conf"),
		c.file("network/hosts", "名前解決の固定設定", "/etc/hosts"),
		c.packets(o))
	for _, f := range [][3]string{
		{"kernel/modules.txt", "カーネルモジュール", "/proc/modules"}, {"kernel/tainted.txt", "カーネルの改変の印", "/proc/sys/kernel/tainted"},
		{"kernel/cmdline.txt", "起動時の指定", "/proc/cmdline"}, {"kernel/mounts.txt", "接続中のファイルシステム", "/proc/self/mountinfo"},
		{"kernel/preload", "全プロセスに読み込ませるライブラリ", "/etc/ld.so.preload"},
	} {
		all = append(all, c.file(f[0], f[1], f[2]))
	}
	return append(all, c.logs()...)
}

// process is the process of interest, its program included.
func (c *Collector) process(pid int) []task {
	if pid <= 0 {
		return []task{small("process/of-interest", "疑わしいプロセス", "none", func(context.Context, int64) ([]byte, string, error) {
			return nil, "", errors.New("the order names no process")
		})}
	}
	dir, proc := fmt.Sprintf("process/%d/", pid), "/proc/"+strconv.Itoa(pid)+"/"
	var all []task
	for _, f := range [][2]string{{"cmdline", "起動時の引数"}, {"environ", "環境変数"}, {"maps", "メモリーの配置"}, {"status", "状態"}, {"stat", "状態（数値）"},
		{"cgroup", "所属するサービス"}, {"limits", "制限"}, {"io", "読み書きの量"}, {"mountinfo", "見えているファイルシステム"}} {
		all = append(all, c.file(dir+f[0], fmt.Sprintf("プロセス %d の%s", pid, f[1]), proc+f[0]))
	}
	return append(all,
		small(dir+"links.txt", fmt.Sprintf("プロセス %d のプログラムと作業場所", pid), "readlink "+proc+"{exe,cwd,root,ns/*}", links(proc)),
		small(dir+"fd.txt", fmt.Sprintf("プロセス %d が開いているもの", pid), "readlink "+proc+"fd/*", descriptors(proc)),
		c.file(dir+"exe.bin", fmt.Sprintf("プロセス %d のプログラム本体", pid), proc+"exe"))
}

// logs prefers the journal; where there is none, the text files.
func (c *Collector) logs() []task {
	since := fmt.Sprintf("-%dmin", int(c.cfg.LogSpan.Minutes()))
	all := []task{c.stream("log/journal.export", "記録（journald）", "journalctl", "--no-pager", "--quiet", "-o", "export", "--since", since)}
	for _, f := range []string{"syslog", "auth.log", "messages", "secure", "kern.log", "audit/audit.log", "wtmp", "btmp"} {
		all = append(all, c.tail("log/"+f, "記録（"+f+"の末尾）", "/var/log/"+f))
	}
	return all
}
