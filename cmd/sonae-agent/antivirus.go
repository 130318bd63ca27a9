package main

import "flag"

// virusOptions say which files an antivirus program looks at.
type virusOptions struct {
	clamd   string
	folders several
	most    int64 // MiB
}

func (o *virusOptions) flags(f *flag.FlagSet) {
	f.StringVar(&o.clamd, "clamd", "", "socket of ClamAV, which looks at what untrusted programs write: unix:/run/clamav/clamd.ctl or tcp:host:port")
	f.Var(&o.folders, "clamd-folder", "only files below this folder are scanned, as many as wanted; all volumes when it is not given")
	f.Int64Var(&o.most, "clamd-max", 25, "MiB of the largest file that is scanned; larger ones are counted")
}
