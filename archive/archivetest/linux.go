package archivetest

import "github.com/sonae/sonae/event"

const syslogTime = "Jan _2 15:04:05"

func (m *maker) auth(e *event.Event) {
	e.Kind, e.Product, e.Category, e.Service = event.KindLogin, "linux", "authentication", "sshd"
	user, source, port := m.user(), m.near(), m.num(30000+m.below(30000)).cut()
	action, word, method := "login", "Accepted", m.of([]string{"publickey", "publickey", "password"})
	switch {
	case m.what == rareUser:
		user = RareUser
	case m.below(8) == 0:
		action, word, method = "failure", "Failed", "password"
	}
	pid := m.num(500 + m.below(60000)).cut()
	m.when(e.Time, syslogTime).text(" ", m.h.name, " sshd[", pid, "]: ", word, " ", method, " for ", user, " from ", source, " port ", port, " ssh2")
	if method == "publickey" {
		m.text(": ED25519 SHA256:").hex(m.Uint64(), 16).hex(m.Uint64(), 16)
	}
	e.Raw = m.cut()
	e.Fields = map[string]string{
		event.FieldUser: user, event.FieldSrcIP: source, event.FieldSrcPort: port, "Action": action, "Method": method, "Program": "sshd", event.FieldPID: pid,
		"Hostname": m.h.name, "Facility": "authpriv", "Unit": "ssh.service", "Priority": "6", "BootId": m.bootID(), "Transport": "syslog",
	}
}

func (m *maker) bootID() string {
	return m.hex(mix(uint64(len(m.h.name))+uint64(m.h.id[4])<<8), 16).cut()
}

var linuxPrograms = []string{"/usr/bin/bash", "/usr/bin/psql", "/usr/bin/rsync", "/usr/sbin/cron", "/usr/bin/python3", "/usr/bin/curl", "/opt/emr/bin/hl7gw", "/usr/bin/sudo"}

func (m *maker) audit(e *event.Event) {
	e.Kind, e.Product, e.Category, e.Service = event.KindLog, "linux", "", "auditd"
	image, user := m.of(linuxPrograms), m.user()
	pid, serial := m.num(500+m.below(60000)).cut(), m.num(100000+m.below(900000)).cut()
	call := m.of([]string{"59", "257", "42", "87", "90"})
	e.Raw = m.text("type=SYSCALL msg=audit(").num(int(e.Time.Unix())).text(".").num(100+e.Time.Nanosecond()/1e6%900).text(":", serial, "): arch=c000003e syscall=", call,
		" success=yes exit=0 a0=55d0").hex(m.Uint64()&0xff0, 8).text(" a1=7ffd").hex(m.Uint64()&0xff0, 8).text(" a2=55d0").hex(m.Uint64()&0xff0, 8).
		text(" items=2 ppid=").num(1+m.below(3000)).text(" pid=", pid, " auid=1000 uid=0 gid=0 comm=\"", image[9:], "\" exe=\"", image, "\" key=\"exec\"").cut()
	e.Fields = map[string]string{
		"type": "SYSCALL", "syscall": call, "success": "yes", event.FieldImage: image, event.FieldPID: pid, event.FieldUser: user, "key": "exec", "serial": serial,
	}
}

// messages are what services say; # becomes a number.
var messages = []string{
	"hl7gw: 電子カルテ連携サーバへの接続が切れました。#秒後に再接続します。", "cupsd: 印刷キュー 3E-laser# が一杯です。用紙を補給してください。", "backup: 夜間バックアップが完了しました。対象 # 件、失敗 0 件。",
	"systemd: Started session # of user svc-backup.", "kernel: nf_conntrack: table usage # of 262144", "postgres: checkpoint complete: wrote # buffers (1.2%); 0 WAL file(s) added",
	"CRON: (svc-emr) CMD (/opt/emr/bin/rotate --keep #)", "nginx: upstream timed out (110: Connection timed out) while reading response header, request #", "chronyd: Selected source 10.20.0.#",
	"asterisk: 通話 # が保留になりました。待ち時間が目標を超えています。",
}

func (m *maker) syslog(e *event.Event) {
	e.Kind, e.Product, e.Service = event.KindLog, "linux", "syslog"
	var text string
	switch m.what {
	case phrase:
		text = m.text("emr-audit: ", Phrase, "。端末 ", m.h.name, " 件数 ").num(1000 + m.nth).cut()
	case addressText:
		text = m.text("emr-audit: 外部の宛先 ", RareAddress, " への転送は許可されていません。").cut()
	default:
		text = m.commandLine(&program{lines: messages})
	}
	pid := m.num(500 + m.below(60000)).cut()
	e.Raw = m.when(e.Time, syslogTime).text(" ", m.h.name, " ", text, " [pid ", pid, "]").cut()
	e.Fields = map[string]string{
		"Hostname": m.h.name, "Message": text, event.FieldPID: pid, "Facility": m.of([]string{"daemon", "local0", "cron", "kern"}), "Priority": m.of([]string{"6", "6", "6", "5", "4", "3"}),
		"BootId": m.bootID(), "Transport": "journal", "Cursor": m.text("s=").hex(mix(uint64(m.h.id[5])), 16).text(";i=").hex(uint64(e.Time.UnixMilli()), 9).cut(),
	}
}
