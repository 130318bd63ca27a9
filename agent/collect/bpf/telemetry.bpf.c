//go:build ignore

// What processes do, told where it happens: a program begins, a process is
// made or ends, a connection is opened or accepted. A program's arguments,
// file, folder and control group are read while they are still there, so that
// a process that ends at once has a command line all the same.
//
// Everything here is bounded: loops have fixed ends, what is longer than its
// place is cut and said to be, records that find no room are counted. On a
// machine where nothing happens the only cost is one comparison for each call
// of the kernel.
//
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s64 s64;
typedef _Bool bool;

// The few fields of the kernel's types that are read; the loader finds where
// they are in the kernel that runs (CO-RE).
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct qstr {
	const unsigned char *name;
};
struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
};
struct vfsmount {
	struct dentry *mnt_root;
};
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};
struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};
struct file {
	struct path f_path;
	void *private_data;
};
struct fdtable {
	u32 max_fds;
	struct file **fd;
};
struct files_struct {
	struct fdtable *fdt;
};
struct fs_struct {
	struct path pwd;
};
struct mm_struct {
	unsigned long arg_start, arg_end;
	struct file *exe_file;
};
typedef struct {
	u32 val;
} kuid_t;
struct cred {
	kuid_t euid;
};
typedef struct {
	int counter;
} atomic_t;
struct signal_struct {
	atomic_t live;
	u32 flags;
	int group_exit_code;
};
struct kernfs_node {
	const char *name;
};
struct kernfs_node___before_6_15 {
	struct kernfs_node *parent;
};
struct kernfs_node___since_6_15 {
	struct kernfs_node *__parent;
};
struct cgroup {
	struct kernfs_node *kn;
};
struct css_set {
	struct cgroup *dfl_cgrp;
};
struct task_struct {
	struct mm_struct *mm;
	struct fs_struct *fs;
	struct files_struct *files;
	const struct cred *cred;
	struct signal_struct *signal;
	struct css_set *cgroups;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	u64 start_boottime;
	int pid, tgid, exit_code;
};
struct in6_addr {
	u8 all[16];
};
struct sock_common {
	u32 skc_daddr, skc_rcv_saddr;
	u16 skc_dport, skc_num, skc_family;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
};
struct sock {
	struct sock_common __sk_common;
	u16 sk_protocol;
};
struct socket {
	struct sock *sk;
};
struct pt_regs {
	unsigned long bx, cx, di, orig_ax, cs;
};
#pragma clang attribute pop

#define NAMES 8192      // bytes of all names of one record
#define NAME 256        // of one, with its zero
#define ARGS 16384      // bytes of arguments
#define LEVELS 48       // folders of a path, mounts among them
#define GROUPS 16       // of a control group
#define GROUP_EXIT 4    // SIGNAL_GROUP_EXIT
#define CS_32BIT 0x23   // __USER32_CS
#define IN_PROGRESS -115

enum kind { EXEC = 1, FORK, EXIT, OPENED, ACCEPTED };

struct head {
	u32 kind, pid, parent, uid;
	u64 at, start; // ns since the machine started
	u32 code;      // wait status (EXIT)
	u32 args;      // bytes of arguments that there were (EXEC)
	u32 told;      // bytes of arguments that are here
	u32 cut;       // which of the names are not whole: 1 file, 2 folder, 4 group
};

// Each of the names is a list of its parts from the last to the first, each
// ended by a zero, and an empty part at its end.
struct begun {
	struct head h;
	char rest[NAMES + NAME + ARGS]; // file, folder, group, arguments
};

struct connected {
	struct head h;
	u16 protocol, family, local_port, remote_port;
	u8 local[16], remote[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 << 20);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1); // dropped
	__type(key, u32);
	__type(value, u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct begun);
} scratches SEC(".maps");

static __always_inline void dropped(void)
{
	u32 zero = 0;
	u64 *n = bpf_map_lookup_elem(&counts, &zero);

	if (n)
		(*n)++;
}

static __always_inline void fill(struct head *h, u32 kind, struct task_struct *task)
{
	h->kind = kind;
	h->pid = BPF_CORE_READ(task, tgid);
	h->parent = BPF_CORE_READ(task, real_parent, tgid);
	h->uid = BPF_CORE_READ(task, cred, euid.val);
	h->at = bpf_ktime_get_boot_ns();
	h->start = BPF_CORE_READ(task, group_leader, start_boottime);
	h->code = h->args = h->told = h->cut = 0;
}

// add appends a name and says how much room is taken then.
static __always_inline u32 add(struct begun *b, u32 at, const void *name)
{
	if (at >= NAMES)
		return NAMES;
	s64 n = bpf_probe_read_kernel_str(b->rest + (at & (NAMES - 1)), NAME, name);
	if (n > 1 && n <= NAME)
		at += n;
	return at;
}

// close_list ends a list of names.
static __always_inline u32 close_list(struct begun *b, u32 at)
{
	if (at >= NAMES)
		return NAMES;
	b->rest[at & (NAMES - 1)] = 0;
	return at + 1;
}

#define CUT (1u << 31)

// The functions that are not static are verified once, whoever calls them.

// add_path appends the parts of a path, across mounts, and says how much room
// is taken then; CUT is set when that is not all.
__noinline u32 add_path(u64 mnt, u64 dentry, u32 at)
{
	u32 zero = 0;
	struct begun *b = bpf_map_lookup_elem(&scratches, &zero);
	struct dentry *d = (void *)dentry;
	struct mount *m = (void *)(mnt - bpf_core_field_offset(struct mount, mnt));
	u32 cut = CUT;

	if (!b)
		return CUT;
	for (int i = 0; i < LEVELS; i++) {
		struct dentry *up = BPF_CORE_READ(d, d_parent);

		if (d == BPF_CORE_READ(m, mnt.mnt_root)) {
			struct mount *below = BPF_CORE_READ(m, mnt_parent);

			if (!below || below == m) {
				cut = 0;
				break;
			}
			d = BPF_CORE_READ(m, mnt_mountpoint);
			m = below;
			continue;
		}
		if (!up || up == d) {
			cut = 0;
			break;
		}
		at = add(b, at, BPF_CORE_READ(d, d_name.name));
		d = up;
	}
	return close_list(b, at) | cut;
}

static __always_inline struct kernfs_node *above(struct kernfs_node *kn)
{
	if (bpf_core_field_exists(struct kernfs_node___since_6_15, __parent))
		return BPF_CORE_READ((struct kernfs_node___since_6_15 *)kn, __parent);
	return BPF_CORE_READ((struct kernfs_node___before_6_15 *)kn, parent);
}

// add_group does the same for the control group.
__noinline u32 add_group(u64 node, u32 at)
{
	u32 zero = 0;
	struct begun *b = bpf_map_lookup_elem(&scratches, &zero);
	struct kernfs_node *kn = (void *)node;
	u32 cut = CUT;

	if (!b)
		return CUT;
	for (int i = 0; i < GROUPS; i++) {
		struct kernfs_node *up = above(kn);

		if (!up) {
			cut = 0;
			break;
		}
		at = add(b, at, BPF_CORE_READ(kn, name));
		kn = up;
	}
	return close_list(b, at) | cut;
}

// add_args appends the arguments, as they lie in the new program's memory.
static __always_inline u32 add_args(struct begun *b, struct mm_struct *mm, u32 at)
{
	u64 from = BPF_CORE_READ(mm, arg_start), len = BPF_CORE_READ(mm, arg_end) - from;

	b->h.args = len;
	if (len > ARGS)
		len = ARGS;
	if (at >= NAMES)
		at = NAMES;
	if (bpf_probe_read_user(b->rest + at, len, (void *)from))
		len = 0;
	b->h.told = len;
	return at + len;
}

SEC("raw_tp/sched_process_exec")
int begins(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	u32 zero = 0;
	struct begun *b = bpf_map_lookup_elem(&scratches, &zero);
	struct mm_struct *mm = BPF_CORE_READ(task, mm);

	if (!b || !mm)
		return 0;
	fill(&b->h, EXEC, task);
	struct file *exe = BPF_CORE_READ(mm, exe_file);
	u32 at = add_path((u64)BPF_CORE_READ(exe, f_path.mnt), (u64)BPF_CORE_READ(exe, f_path.dentry), 0);
	b->h.cut = at >> 31;
	at = add_path((u64)BPF_CORE_READ(task, fs, pwd.mnt), (u64)BPF_CORE_READ(task, fs, pwd.dentry), at & ~CUT);
	b->h.cut |= at >> 31 << 1;
	at = add_group((u64)BPF_CORE_READ(task, cgroups, dfl_cgrp, kn), at & ~CUT);
	b->h.cut |= at >> 31 << 2;
	at = add_args(b, mm, at & ~CUT);
	if (at > sizeof(b->rest))
		at = sizeof(b->rest);
	if (bpf_ringbuf_output(&records, b, sizeof(b->h) + at, 0))
		dropped();
	return 0;
}

SEC("raw_tp/sched_process_fork")
int made(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *child = (void *)ctx->args[1];
	struct head h;

	if (BPF_CORE_READ(child, pid) != BPF_CORE_READ(child, tgid))
		return 0; // a thread
	fill(&h, FORK, child);
	if (bpf_ringbuf_output(&records, &h, sizeof(h), 0))
		dropped();
	return 0;
}

SEC("raw_tp/sched_process_exit")
int ends(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	struct signal_struct *s = BPF_CORE_READ(task, signal);
	struct head h;

	if (BPF_CORE_READ(s, live.counter))
		return 0; // other threads go on
	fill(&h, EXIT, task);
	h.code = BPF_CORE_READ(s, flags) & GROUP_EXIT ? BPF_CORE_READ(s, group_exit_code) : BPF_CORE_READ(task, exit_code);
	if (bpf_ringbuf_output(&records, &h, sizeof(h), 0))
		dropped();
	return 0;
}

// tell_connection tells of the socket that fd is.
static __noinline int tell_connection(u32 kind, u64 fd)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct fdtable *fdt = BPF_CORE_READ(task, files, fdt);
	struct file *f = 0;

	if (fd >= BPF_CORE_READ(fdt, max_fds))
		return 0;
	struct file **all = BPF_CORE_READ(fdt, fd);
	bpf_probe_read_kernel(&f, sizeof(f), all + fd);
	if (!f)
		return 0; // another thread closed it
	struct socket *socket = BPF_CORE_READ(f, private_data);
	struct sock *sk = BPF_CORE_READ(socket, sk);
	struct connected c = {.family = BPF_CORE_READ(sk, __sk_common.skc_family)};
	switch (c.family) {
	case 2:
		bpf_core_read(c.local, 4, &sk->__sk_common.skc_rcv_saddr);
		bpf_core_read(c.remote, 4, &sk->__sk_common.skc_daddr);
		break;
	case 10:
		bpf_core_read(c.local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(c.remote, 16, &sk->__sk_common.skc_v6_daddr);
		break;
	default:
		return 0;
	}
	fill(&c.h, kind, task);
	c.protocol = BPF_CORE_READ(sk, sk_protocol);
	c.local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	c.remote_port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (bpf_ringbuf_output(&records, &c, sizeof(c), 0))
		dropped();
	return 0;
}

// socketcall is the one call through which old 32-bit programs do all of it.
static __always_inline int socketcall(struct pt_regs *regs, s64 ret)
{
	u32 what = BPF_CORE_READ(regs, bx), fd = 0;

	if (what == 5 || what == 18)
		return tell_connection(ACCEPTED, ret);
	if (what != 3 || bpf_probe_read_user(&fd, sizeof(fd), (void *)BPF_CORE_READ(regs, cx)))
		return 0;
	return tell_connection(OPENED, fd);
}

SEC("raw_tp/sys_exit")
int call_ends(struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_regs *regs = (void *)ctx->args[0];
	u64 nr = BPF_CORE_READ(regs, orig_ax);

	// connect, accept and accept4 of either kind of program, and socketcall
	if (nr != 42 && nr != 43 && nr != 288 && nr != 102 && nr != 362 && nr != 364)
		return 0;
	s64 ret = ctx->args[1];
	if (ret < 0 && ret != IN_PROGRESS)
		return 0;
	if (BPF_CORE_READ(regs, cs) != CS_32BIT) {
		switch (nr) {
		case 42: return tell_connection(OPENED, BPF_CORE_READ(regs, di));
		case 43: case 288: return tell_connection(ACCEPTED, ret);
		}
		return 0;
	}
	switch (nr) {
	case 102: return socketcall(regs, ret);
	case 362: return tell_connection(OPENED, BPF_CORE_READ(regs, bx));
	case 364: return tell_connection(ACCEPTED, ret);
	}
	return 0;
}

char _license[] SEC("license") = "GPL";
