package backup

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sonae/sonae/protect/engine"
	"github.com/sonae/sonae/protect/job"
)

// overlay is what stands in the name of the file into which a running machine
// writes while its disk is being read.
const overlay = ".sonae-"

// commitTime bounds how long libvirt may take to bring a disk back together.
const commitTime = 2 * time.Hour

// machine backs up a virtual machine: its description, and the files of its
// disks. One that runs writes beside them meanwhile (an external snapshot, with
// the guest's file systems at rest where its agent is there); afterwards what it
// wrote is committed, so that the machine has one file for each disk again.
func (w *work) machine(ctx context.Context, s job.Source, res *job.SourceResult) {
	v := libvirt{uri: cmp.Or(s.Connect, "qemu:///system"), name: s.Domain}
	d, err := v.look(ctx)
	if err == nil && d.runs && d.overlays() { // a run that was killed left them
		if err = v.join(ctx, d); err == nil {
			d, err = v.look(ctx)
		}
	}
	if err != nil {
		note(res, unable(err), err)
		return
	}
	for _, dev := range d.other {
		note(res, job.Partial, fmt.Errorf("disk %s of %s is no file: it is not saved", dev, s.Domain))
		res.Unread++
	}
	w.save(ctx, res, s, engine.Backup{Name: streamName(s, "domain.xml"), Stream: func(_ context.Context, to io.Writer) error {
		_, err := to.Write(d.description)
		return err
	}})
	if len(d.disks) == 0 {
		return
	}
	if d.runs {
		if err := v.part(ctx, d, w.job.ID); err != nil {
			note(res, job.Failed, err)
			return
		}
		defer func() {
			if err := v.rejoin(ctx); err != nil {
				note(res, job.Failed, fmt.Errorf("%s still writes beside its disks: %w", s.Domain, err))
			}
		}()
	}
	w.save(ctx, res, s, engine.Backup{Paths: d.files()})
}

// libvirt is one virtual machine of one libvirt.
type libvirt struct{ uri, name string }

// domain is a machine as it is.
type domain struct {
	runs        bool
	disks       []disk
	other       []string // devices of disks that are no files
	spared      []string // devices that are no disks, as a drive with a medium
	description []byte   // libvirt's XML
}

// disk is a disk that is a file, with the files below it.
type disk struct {
	dev   string // of the guest, as vda
	files []string
}

// described is the part of libvirt's XML that matters. Disks of a machine that
// runs also tell the chain of files below.
// https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms
type described struct {
	XMLName xml.Name `xml:"domain"`
	Disks   []struct {
		Device string `xml:"device,attr"`
		Source source `xml:"source"`
		Target struct {
			Dev string `xml:"dev,attr"`
		} `xml:"target"`
		Below *below `xml:"backingStore"`
	} `xml:"devices>disk"`
}

type source struct {
	File string `xml:"file,attr"`
}

type below struct {
	Source source `xml:"source"`
	Below  *below `xml:"backingStore"`
}

// maxChain bounds the files of one disk.
const maxChain = 64

// disksOf reads a description.
func disksOf(description []byte) (d domain, err error) {
	var x described
	if err := xml.Unmarshal(description, &x); err != nil {
		return d, fmt.Errorf("description of a virtual machine: %w", err)
	}
	d.description = description
	for _, one := range x.Disks {
		dev := one.Target.Dev
		switch {
		case dev == "" || strings.ContainsAny(dev, ", \n") || strings.HasPrefix(dev, "-"):
			return d, fmt.Errorf("description of a virtual machine: device %.40q", dev)
		case one.Device != "" && one.Device != "disk":
			d.spared = append(d.spared, dev)
			continue
		case !job.Absolute(one.Source.File):
			d.other = append(d.other, dev)
			continue
		}
		files := []string{one.Source.File}
		for b := one.Below; b != nil && b.Source.File != ""; b = b.Below {
			if !job.Absolute(b.Source.File) || len(files) == maxChain {
				return d, fmt.Errorf("description of a virtual machine: disk %s lies on %.80q", dev, b.Source.File)
			}
			files = append(files, b.Source.File)
		}
		d.disks = append(d.disks, disk{dev, files})
	}
	return d, nil
}

// files are those of all disks.
func (d domain) files() (all []string) {
	for _, one := range d.disks {
		all = append(all, one.files...)
	}
	return all
}

// overlays says whether the machine writes beside a disk.
func (d domain) overlays() bool {
	for _, one := range d.disks {
		if strings.Contains(one.files[0], overlay) {
			return true
		}
	}
	return false
}

func (v libvirt) virsh(ctx context.Context, args ...string) (string, error) {
	out, err := tool{}.ask(ctx, "virsh", append([]string{"--connect", v.uri, "--quiet"}, args...)...)
	return string(out), err
}

// look describes the machine as it is now.
func (v libvirt) look(ctx context.Context) (domain, error) {
	state, err := v.virsh(ctx, "domstate", "--domain", v.name)
	if err != nil {
		return domain{}, err
	}
	out, err := v.virsh(ctx, "dumpxml", "--domain", v.name)
	if err != nil {
		return domain{}, err
	}
	d, err := disksOf([]byte(out))
	d.runs = strings.TrimSpace(state) != "shut off"
	return d, err
}

// part lets the machine write beside its disks from one moment on. Where the
// guest's agent does not answer, the disks are as after a loss of power.
func (v libvirt) part(ctx context.Context, d domain, id string) error {
	args := v.parting(d, id)
	if _, err := v.virsh(ctx, append(args, "--quiesce")...); err == nil {
		return nil
	}
	_, err := v.virsh(ctx, args...)
	return err
}

func (v libvirt) parting(d domain, id string) []string {
	args := []string{"snapshot-create-as", "--domain", v.name, "--name", "sonae", "--disk-only", "--atomic", "--no-metadata"}
	for _, one := range d.disks {
		args = append(args, "--diskspec", one.dev+",snapshot=external,file="+strings.ReplaceAll(one.files[0], ",", ",,")+overlay+id)
	}
	for _, dev := range append(d.other, d.spared...) {
		args = append(args, "--diskspec", dev+",snapshot=no")
	}
	return args
}

// rejoin brings the disks back together, whatever ended the job.
func (v libvirt) rejoin(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	d, err := v.look(ctx)
	if err != nil {
		return err
	}
	return v.join(ctx, d)
}

// join commits what a machine wrote beside its disks, and removes the files.
func (v libvirt) join(ctx context.Context, d domain) error {
	var errs []error
	for _, one := range d.disks {
		top := one.files[0]
		if !strings.Contains(top, overlay) {
			continue
		}
		if err := v.commit(ctx, one.dev); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, os.Remove(top))
	}
	return errors.Join(errs...)
}

// commit waits until a disk is one again.
func (v libvirt) commit(ctx context.Context, dev string) error {
	ctx, done := context.WithTimeout(ctx, commitTime)
	defer done()
	return tool{}.pour(ctx, io.Discard, "virsh", "--connect", v.uri, "--quiet", "blockcommit", "--domain", v.name, "--path", dev, "--active", "--shallow", "--pivot", "--wait")
}
