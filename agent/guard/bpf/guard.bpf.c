//go:build ignore

// What processes read and write on the watched volumes, judged where it
// happens: a file that was readable when a process read it, and is noise when
// the same process writes it, counts; so does noise that other noise takes the
// place of. At the third such file the process is stopped by a signal before it
// returns from the call; whether it stays so is for user space to say (ADR 0021).
//
// Everything here is bounded: tables forget the least used, loops have fixed
// ends, records that find no room are counted.
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
struct super_block {
	u32 s_dev;
};
struct inode {
	unsigned long i_ino;
	struct super_block *i_sb;
	s64 i_size;
};
struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};
struct path {
	struct dentry *dentry;
};
struct file {
	struct inode *f_inode;
	u32 f_mode;
	s64 f_pos;
	struct path f_path;
};
struct fdtable {
	u32 max_fds;
	struct file **fd;
};
struct files_struct {
	struct fdtable *fdt;
};
struct task_struct {
	struct files_struct *files;
	struct task_struct *real_parent;
	int tgid;
	u64 start_boottime;
	struct task_struct *group_leader;
};
struct pt_regs {
	unsigned long r10, bx, cx, dx, si, di, orig_ax, cs;
};
#pragma clang attribute pop

#define FMODE_CREATED (1u << 20) // include/linux/fs.h
#define SIGSTOP 19
#define CS_32BIT 0x23 // __USER32_CS

#define SPOT 64   // bytes of one look
#define SPOTS 8   // looks at one buffer
#define MARKS 8   // looks at noise that are remembered of a file
#define NOISY 51  // different values among 64 bytes; noise has 57 +- 2, text below 42
#define NAME 128  // bytes of a name that are told
#define LEVELS 10 // folders that are told
#define CLIMB 24  // folders between a watched one and its files

enum kind { RISE = 1, MAGIC, CHANGED, MADE, RENAMED, GONE, STOPPED, EXEC };

struct file_key {
	u64 ino;
	u64 start; // of the process: numbers are used again
	u32 dev;
	u32 tgid;
};

struct file_state {
	u32 reads, writes;
	u16 pre_n, pre_noisy;
	u16 post_n, post_noisy;
	u8 watched, known, turned, made;
	u8 typed; // it was written from its beginning and says what it is
	u8 marks;
	u32 at[MARKS]; // where noise was read
	u32 sum[MARKS];
};

struct proc_state {
	u64 start;
	u32 turned; // files that count
	u32 made;   // new files of noise
	u32 gone;   // files that were read, and deleted or replaced
	u32 pairs;  // of made and gone that count
	u32 free;   // may do what it likes
};

// grant is how many files of a process may count before it is stopped again.
struct grant {
	u64 start;
	u64 most;
};

struct place {
	u64 ino;
	u64 dev;
};

struct record {
	u32 kind, tgid, parent, dev;
	u64 ino, at, start, size;
	char comm[16];
	u32 turned;
	u8 created, canary, noisy, of;
	char names[LEVELS][NAME]; // of the file, its folder, and so on; or the old and the new path as the process gave them
};

#define SMALL __builtin_offsetof(struct record, names)

const volatile u32 self = 0;  // nobody stops the guard
const volatile u32 limit = 3; // files

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct file_key);
	__type(value, struct file_state);
} files SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, u32);
	__type(value, struct proc_state);
} procs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, struct grant);
} grants SEC(".maps"); // only user space writes to it

struct name_key {
	u64 hash;
	u64 tgid;
};

// read_file is a file that a process has read from its beginning.
struct read_file {
	u64 ino, size;
	u32 readable; // or of a known type
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct name_key);
	__type(value, struct read_file);
} names SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, u32);   // device
	__type(value, u32); // 1: all of it is watched
} volumes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct place);
	__type(value, u32); // 1: a watched folder, 2: a decoy
} places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2); // seen, dropped
	__type(key, u32);
	__type(value, u64);
} counts SEC(".maps");

struct scratch {
	char path[256];
	u32 sum[SPOTS]; // of the last looks
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

static __always_inline void count(u32 which)
{
	u64 *n = bpf_map_lookup_elem(&counts, &which);
	if (n)
		(*n)++;
}

// bits counts the ones of a word without branches: each would double what the
// verifier has to follow.
static __always_inline u32 bits(u64 x)
{
	x -= x >> 1 & 0x5555555555555555ULL;
	x = (x & 0x3333333333333333ULL) + (x >> 2 & 0x3333333333333333ULL);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return x * 0x0101010101010101ULL >> 56;
}

// The functions that are not static are verified once, whoever calls them.

static __always_inline u32 different(u64 *seen)
{
	return bits(seen[0]) + bits(seen[1]) + bits(seen[2]) + bits(seen[3]);
}

// look looks at SPOT bytes in user space: 0 when they cannot be read, else bit 0
// is set, and when they are noise bit 1, with a sum of them above bit 32.
__noinline u64 look(u64 at)
{
	u64 w[SPOT / 8], seen[4] = {}, sum = SPOT;
	u8 *b = (u8 *)w;

	if (bpf_probe_read_user(w, SPOT, (void *)at))
		return 0;
	for (int i = 0; i < SPOT / 2; i++)
		seen[b[i] >> 6 & 3] |= 1ULL << (b[i] & 63);
	if (different(seen) + SPOT / 2 < NOISY)
		return 1; // the other half cannot make it noise: most of what is read and written is no longer looked at
	for (int i = SPOT / 2; i < SPOT; i++)
		seen[b[i] >> 6 & 3] |= 1ULL << (b[i] & 63);
	if (different(seen) < NOISY)
		return 1;
	for (int i = 0; i < SPOT / 8; i++)
		sum = (sum ^ w[i]) * 0x9e3779b97f4a7c15ULL;
	return (sum >> 32) << 32 | 3;
}

static __always_inline u64 stride(u64 len)
{
	return len > SPOT * SPOTS ? (len - SPOT) / (SPOTS - 1) : SPOT;
}

// spots looks at up to SPOTS places of a buffer in user space: the number of
// looks, and above bit 8 a bit for each that was noise.
__noinline u32 spots(u64 buf, u64 len)
{
	u32 n = 0, noisy = 0, zero = 0;
	u64 step = stride(len);
	struct scratch *s = bpf_map_lookup_elem(&scratches, &zero);

	if (!s)
		return 0;
	for (int i = 0; i < SPOTS; i++) {
		if (i * step + SPOT > len)
			break;
		u64 got = look(buf + i * step);
		if (!got)
			break;
		s->sum[i] = got >> 32;
		noisy |= (u32)(got >> 1 & 1) << i;
		n++;
	}
	return n | noisy << 8;
}

// remember keeps what noise was read, and where. got is of spots.
__noinline int remember(struct file_state *s, u32 got, s64 pos, u64 len)
{
	u32 zero = 0;
	struct scratch *last = bpf_map_lookup_elem(&scratches, &zero);

	if (!s || !last || pos < 0 || pos + len >= 1ULL << 32)
		return 0;
	for (int i = 0; i < SPOTS; i++) {
		u32 n = s->marks;

		if (n >= MARKS)
			break;
		if (!(got >> (8 + i) & 1))
			continue;
		asm volatile("%0 &= %1" : "+r"(n) : "i"(MARKS - 1)); // the verifier does not see that it is so already
		s->at[n] = pos + i * stride(len);
		s->sum[n] = last->sum[i];
		s->marks = n + 1;
	}
	return 0;
}

// changed says whether noise that was read is being overwritten with other noise.
__noinline int changed(struct file_state *s, u64 buf, s64 pos, u64 len)
{
	u32 looked = 0, other = 0;

	if (!s)
		return 0;
	for (int i = 0; i < MARKS; i++) {
		s64 from = (s64)s->at[i] - pos;

		if (i >= s->marks)
			break;
		if (from < 0 || from + SPOT > (s64)len)
			continue;
		u64 got = look(buf + from);
		looked++;
		other += got >> 1 & 1 && got >> 32 != s->sum[i];
	}
	return other * 2 > looked;
}

static __always_inline u32 ones(u32 x)
{
	u32 n = 0;

	for (int i = 0; i < SPOTS; i++)
		n += x >> i & 1;
	return n;
}

// known says whether a buffer begins as a file of a well-known type does.
__noinline u32 known(u64 buf)
{
	u8 b[8];

	if (bpf_probe_read_user(b, sizeof(b), (void *)buf))
		return 0;
	u32 w = (u32)b[0] << 24 | (u32)b[1] << 16 | (u32)b[2] << 8 | b[3];
	switch (w) {
	case 0x25504446: // %PDF
	case 0x504b0304: // zip, office documents
	case 0x504b0506:
	case 0x89504e47: // PNG
	case 0x47494638: // GIF
	case 0x49492a00: // TIFF
	case 0x4d4d002a:
	case 0xd0cf11e0: // OLE
	case 0x7b5c7274: // RTF
	case 0x28b52ffd: // zstd
	case 0xfd377a58: // xz
	case 0x04224d18: // lz4
	case 0x377abcaf: // 7z
	case 0x52617221: // RAR
	case 0x53514c69: // SQLite
	case 0x7f454c46: // ELF
	case 0x52494646: // RIFF
	case 0x4f676753: // Ogg
	case 0x664c6143: // FLAC
	case 0x1a45dfa3: // Matroska
	case 0x5047444d: // pg_dump
	case 0x5041434b: // git
		return 1;
	}
	switch (w >> 8) {
	case 0xffd8ff: // JPEG
	case 0x1f8b08: // gzip
	case 0x425a68: // bzip2
	case 0x494433: // MP3
		return 1;
	}
	return b[4] == 'f' && b[5] == 't' && b[6] == 'y' && b[7] == 'p';
}

static __always_inline struct file *file_of(struct task_struct *task, u64 fd)
{
	struct fdtable *fdt = BPF_CORE_READ(task, files, fdt);
	struct file *f = 0;

	if (!fdt || fd >= BPF_CORE_READ(fdt, max_fds))
		return 0;
	struct file **all = BPF_CORE_READ(fdt, fd);
	bpf_probe_read_kernel(&f, sizeof(f), all + fd);
	return f;
}

// within says whether a file lies below a watched folder of its volume.
__noinline u32 within(u64 file, u32 dev)
{
	struct file *f = (void *)file;
	struct dentry *d = BPF_CORE_READ(f, f_path.dentry);

	for (int i = 0; i < CLIMB; i++) {
		struct dentry *up = BPF_CORE_READ(d, d_parent);
		struct place p = {.dev = dev};

		if (!up || up == d)
			return 0;
		p.ino = BPF_CORE_READ(up, d_inode, i_ino);
		u32 *what = bpf_map_lookup_elem(&places, &p);
		if (what && *what == 1)
			return 1;
		d = up;
	}
	return 0;
}

#define FNV_START 14695981039346656037ULL
#define FNV_PRIME 1099511628211ULL

// hash_scratch is the FNV-1a hash of the last part of the path in the scratch
// space. It has no branch but the end of the text, for the verifier's sake.
static __always_inline u64 hash_scratch(struct scratch *s)
{
	u64 h = FNV_START;

	for (int i = 0; i < (int)sizeof(s->path) - 1; i++) {
		u64 c = (u8)s->path[i];
		u64 x = c ^ '/';

		if (!c)
			break;
		asm volatile("" : "+r"(x)); // else it becomes a branch again
		u64 slash = (u64)((s64)(x - 1) >> 63);
		h = ((h ^ c) * FNV_PRIME & ~slash) | (FNV_START & slash);
	}
	return h;
}

// hash_name is the hash of a file's name; 0 when it cannot be read.
__noinline u64 hash_name(u64 file)
{
	struct file *f = (void *)file;
	u32 zero = 0;
	struct scratch *s = bpf_map_lookup_elem(&scratches, &zero);

	if (!s || bpf_probe_read_kernel_str(s->path, sizeof(s->path), BPF_CORE_READ(f, f_path.dentry, d_name.name)) < 0)
		return 0;
	return hash_scratch(s);
}

// hash_last is the same of a path in user space.
__noinline u64 hash_last(u64 path)
{
	u32 zero = 0;
	struct scratch *s = bpf_map_lookup_elem(&scratches, &zero);

	if (!s || bpf_probe_read_user_str(s->path, sizeof(s->path), (void *)path) < 0)
		return 0;
	return hash_scratch(s);
}

static __always_inline struct proc_state *proc_of(u32 tgid, u64 start, bool make)
{
	struct proc_state *p = bpf_map_lookup_elem(&procs, &tgid);

	if (p && p->start == start)
		return p;
	if (!make)
		return 0;
	struct proc_state fresh = {.start = start};
	bpf_map_update_elem(&procs, &tgid, &fresh, p ? BPF_ANY : BPF_NOEXIST); // another thread may have been first
	return bpf_map_lookup_elem(&procs, &tgid);
}

static __always_inline void fill(struct record *r, u32 kind, struct task_struct *task, u32 tgid, u64 start)
{
	r->kind = kind;
	r->tgid = tgid;
	r->parent = BPF_CORE_READ(task, real_parent, tgid);
	r->start = start;
	r->at = bpf_ktime_get_boot_ns();
	r->dev = 0;
	r->ino = 0;
	r->turned = 0;
	r->size = 0;
	bpf_get_current_comm(r->comm, sizeof(r->comm));
	r->created = r->canary = r->noisy = r->of = 0;
}

// tell_small tells what needs no name.
static __always_inline void tell_small(u32 kind, struct task_struct *task, u32 tgid, u64 start, u32 turned)
{
	struct record *r = bpf_ringbuf_reserve(&records, SMALL, 0);

	if (!r) {
		count(1);
		return;
	}
	fill(r, kind, task, tgid, start);
	r->turned = turned;
	bpf_ringbuf_submit(r, 0);
}

struct who {
	struct task_struct *task;
	u64 start;
	u32 tgid;
};

// tell_file tells what became of a file. what is a kind, and above bit 8 whether it is a decoy.
static __noinline void tell_file(u32 what, struct who *w, struct file *f, struct file_key *k, struct file_state *s)
{
	struct record *r = bpf_ringbuf_reserve(&records, sizeof(*r), 0);

	if (!r) {
		count(1);
		return;
	}
	fill(r, what & 0xff, w->task, w->tgid, w->start);
	r->dev = k->dev;
	r->ino = k->ino;
	r->size = BPF_CORE_READ(f, f_inode, i_size);
	r->created = !!(BPF_CORE_READ(f, f_mode) & FMODE_CREATED);
	r->canary = what >> 8;
	r->noisy = s->post_noisy;
	r->of = s->post_n;
	struct dentry *d = BPF_CORE_READ(f, f_path.dentry);
	for (int i = 0; i < LEVELS; i++) {
		struct dentry *up = BPF_CORE_READ(d, d_parent);

		r->names[i][0] = 0;
		if (up && up != d) {
			bpf_probe_read_kernel_str(r->names[i], NAME, BPF_CORE_READ(d, d_name.name));
			d = up;
		}
	}
	bpf_ringbuf_submit(r, 0);
}

// stop stops whoever turned too many files. The signal is for the thread that
// runs: one for the process is taken by a single thread, and as long as that
// thread waits for a processor no other signal for the process has any effect,
// so that the other threads would go on. The first to take its own stops all.
__noinline int stop(struct who *w, struct proc_state *p)
{
	if (!w || !p || p->free || p->turned < limit)
		return 0;
	struct grant *g = bpf_map_lookup_elem(&grants, &w->tgid);
	if (g && g->start == w->start && p->turned < g->most)
		return 0;
	bpf_send_signal_thread(SIGSTOP);
	tell_small(STOPPED, w->task, w->tgid, w->start, p->turned);
	return 0;
}

// judge counts a file that was turned.
static __always_inline void judge(struct who *w, struct proc_state *p, u32 n)
{
	__sync_fetch_and_add(&p->turned, n);
	stop(w, p);
}

static __always_inline void pair(struct who *w, struct proc_state *p)
{
	if (p->pairs < p->made && p->pairs < p->gone) {
		p->pairs++;
		judge(w, p, 1);
	}
}

// Both ways of a transfer.
struct transfer {
	u64 fd, buf, len;
	s64 pos; // of its first byte, -1: the one of the file
	bool write;
};

static __noinline int transferred(struct who *w, struct transfer *t)
{
	struct file *f = file_of(w->task, t->fd);

	if (!f || !t->len)
		return 0;
	struct inode *inode = BPF_CORE_READ(f, f_inode);
	u32 dev = BPF_CORE_READ(inode, i_sb, s_dev);
	u32 *whole = bpf_map_lookup_elem(&volumes, &dev);
	if (!whole)
		return 0;
	struct file_key k = {.ino = BPF_CORE_READ(inode, i_ino), .start = w->start, .dev = dev, .tgid = w->tgid};
	struct file_state *s = bpf_map_lookup_elem(&files, &k);
	if (!s) {
		struct file_state fresh = {};

		fresh.watched = *whole || within((u64)f, dev);
		bpf_map_update_elem(&files, &k, &fresh, BPF_ANY);
		s = bpf_map_lookup_elem(&files, &k);
		if (!s)
			return 0;
		struct proc_state *p = proc_of(w->tgid, w->start, 0);
		if (p)
			stop(w, p); // the next file is not begun
	}
	if (!s->watched)
		return 0;
	count(0);
	s64 pos = t->pos;
	if (pos < 0)
		pos = BPF_CORE_READ(f, f_pos) - (s64)t->len;
	if (!t->write) {
		if (s->writes || s->reads >= 8)
			return 0; // what it was before is known
		s->reads++;
		u32 got = spots(t->buf, t->len);
		s->pre_n += got & 0xff;
		s->pre_noisy += ones(got >> 8);
		if (got >> 8)
			remember(s, got, pos, t->len);
		if (pos == 0) {
			struct name_key nk = {.hash = hash_name((u64)f), .tgid = w->tgid};
			struct read_file rf = {.ino = k.ino, .size = BPF_CORE_READ(inode, i_size)};

			s->known = known(t->buf);
			rf.readable = s->known || s->pre_noisy * 2 < s->pre_n;
			bpf_map_update_elem(&names, &nk, &rf, BPF_ANY);
		}
		return 0;
	}
	s->writes++;
	if (s->turned || s->made == 2 || (s->writes > (s->pre_n ? 16 : 4) && s->writes & 7))
		return 0; // a new file tells soon what it is
	struct proc_state *p = proc_of(w->tgid, w->start, 1);
	if (!p || p->free)
		return 0;
	u32 got = spots(t->buf, t->len), n = got & 0xff, noisy = ones(got >> 8);
	s->post_n += n;
	s->post_noisy += noisy;
	u32 type = pos == 0 && known(t->buf);
	s->typed |= type;
	struct place here = {.ino = k.ino, .dev = dev};
	u32 *what = bpf_map_lookup_elem(&places, &here);
	u32 canary = what && *what == 2;
	u32 least = s->post_n < 2 ? 1 : 2;
	u32 kind = 0;
	if (s->pre_n && s->post_noisy >= least && (u32)s->pre_noisy * s->post_n * 2 < (u32)s->post_noisy * s->pre_n && !type)
		kind = RISE;
	else if (s->known && pos == 0 && !type && got >> 8 & 1)
		kind = MAGIC;
	else if (s->marks && noisy && !s->typed && changed(s, t->buf, pos, t->len))
		kind = CHANGED;
	if (kind) {
		s->turned = 1;
		tell_file(kind | canary << 8, w, f, &k, s);
		judge(w, p, canary ? 2 : 1);
		return 0;
	}
	if (s->pre_n || s->made)
		return 0;
	if (type) {
		s->made = 2; // what it says it is
		return 0;
	}
	if (s->post_noisy >= least && s->post_noisy * 3 >= s->post_n) {
		s->made = 1;
		p->made++;
		tell_file(MADE | canary << 8, w, f, &k, s);
		pair(w, p);
	}
	return 0;
}

// moved handles a file that was renamed, or deleted (to is 0).
static __noinline int moved(struct who *w, u64 from, u64 to)
{
	struct proc_state *p = proc_of(w->tgid, w->start, 0);

	if (!p || p->free)
		return 0; // it has not written to anything that is watched
	stop(w, p);
	struct name_key nk = {.hash = hash_last(from), .tgid = w->tgid};
	struct read_file *old = bpf_map_lookup_elem(&names, &nk);
	struct name_key over = {.tgid = w->tgid};
	struct read_file *covered = 0;
	if (to) {
		over.hash = hash_last(to);
		covered = bpf_map_lookup_elem(&names, &over);
	}
	if (covered)
		old = covered;
	struct record *r = bpf_ringbuf_reserve(&records, sizeof(*r), 0);
	if (!r) {
		count(1);
	} else {
		fill(r, to ? RENAMED : GONE, w->task, w->tgid, w->start);
		if (old) {
			r->ino = old->ino;
			r->size = old->size;
			r->canary = !!covered; // here: something stands in its place
		}
		if (bpf_probe_read_user_str(r->names[0], 5 * NAME, (void *)from) < 0)
			r->names[0][0] = 0;
		if (!to || bpf_probe_read_user_str(r->names[5], 5 * NAME, (void *)to) < 0)
			r->names[5][0] = 0;
		bpf_ringbuf_submit(r, 0);
	}
	if (old && old->readable && (!to || covered)) {
		bpf_map_delete_elem(&names, covered ? &over : &nk);
		p->gone++;
		pair(w, p);
	}
	return 0;
}

enum op { NOTHING, READ, PREAD, READV, PREADV, UNLINK, UNLINKAT, RENAME, RENAMEAT };

#define WRITES 0x100

static __always_inline u32 op64(u64 nr)
{
	switch (nr) {
	case 0: return READ;
	case 1: return READ | WRITES;
	case 17: return PREAD;
	case 18: return PREAD | WRITES;
	case 19: return READV;
	case 20: return READV | WRITES;
	case 295: case 327: return PREADV;
	case 296: case 328: return PREADV | WRITES;
	case 87: return UNLINK;
	case 263: return UNLINKAT;
	case 82: return RENAME;
	case 264: case 316: return RENAMEAT;
	}
	return NOTHING;
}

static __always_inline u32 op32(u64 nr)
{
	switch (nr) {
	case 3: return READ;
	case 4: return READ | WRITES;
	case 180: return PREAD;
	case 181: return PREAD | WRITES;
	case 10: return UNLINK;
	case 301: return UNLINKAT;
	case 38: return RENAME;
	case 302: case 353: return RENAMEAT;
	}
	return NOTHING;
}

SEC("raw_tp/sys_exit")
int call_ends(struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_regs *regs = (void *)ctx->args[0];
	s64 ret = ctx->args[1];
	u64 a[4];

	if (ret < 0)
		return 0;
	u64 nr = BPF_CORE_READ(regs, orig_ax);
	if (op64(nr) == NOTHING && op32(nr) == NOTHING)
		return 0; // as nearly all are
	u64 cs = BPF_CORE_READ(regs, cs);
	u32 op = cs == CS_32BIT ? op32(nr) : op64(nr);
	if (op == NOTHING || ((op & 0xff) <= PREADV && ret == 0))
		return 0;
	struct who w = {.tgid = bpf_get_current_pid_tgid() >> 32};
	if (w.tgid == self)
		return 0;
	if (cs == CS_32BIT) {
		a[0] = BPF_CORE_READ(regs, bx);
		a[1] = BPF_CORE_READ(regs, cx);
		a[2] = BPF_CORE_READ(regs, dx);
		a[3] = BPF_CORE_READ(regs, si);
	} else {
		a[0] = BPF_CORE_READ(regs, di);
		a[1] = BPF_CORE_READ(regs, si);
		a[2] = BPF_CORE_READ(regs, dx);
		a[3] = BPF_CORE_READ(regs, r10);
	}
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	w.task = task;
	w.start = BPF_CORE_READ(task, group_leader, start_boottime);
	struct transfer t = {.fd = a[0], .buf = a[1], .len = ret, .pos = -1, .write = op & WRITES};
	switch (op & 0xff) {
	case UNLINK: return moved(&w, a[0], 0);
	case UNLINKAT: return moved(&w, a[1], 0);
	case RENAME: return moved(&w, a[0], a[1]);
	case RENAMEAT: return moved(&w, a[1], a[3]);
	case PREAD: t.pos = a[3]; break;
	case READV:
	case PREADV: {
		u64 iov[2] = {};

		if (bpf_probe_read_user(iov, sizeof(iov), (void *)a[1]))
			return 0;
		t.buf = iov[0];
		if (iov[1] < t.len) // the first part stands for all
			t.len = iov[1];
		if ((op & 0xff) == PREADV)
			t.pos = a[3];
		else if (t.len != (u64)ret)
			t.pos = 1; // not known
		break;
	}
	}
	return transferred(&w, &t);
}

SEC("raw_tp/sched_process_exec")
int begins(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	u32 tgid = BPF_CORE_READ(task, tgid);

	tell_small(EXEC, task, tgid, BPF_CORE_READ(task, group_leader, start_boottime), 0);
	return 0;
}

char _license[] SEC("license") = "GPL";
