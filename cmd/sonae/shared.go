package main

import (
	"flag"
	"fmt"
	"net/url"
	"strings"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/bus"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/hub"
)

// sharedFlags are those of what several hubs share. The returned function puts
// them into the configuration once they are parsed.
func sharedFlags(flags *flag.FlagSet) func(*hub.Config) error {
	name := flags.String("hub", "", "name of this hub among several; empty: the name of the machine")
	keys := flags.String("keys", "", "folder with the keys, the same for all hubs; empty: keys in --dir")
	nats := flags.String("nats", "", "NATS cluster in place of the bus in the folder: nats://… or tls://…, separated by commas")
	e := bus.External{}
	flags.StringVar(&e.Credentials, "nats-credentials", "", "file with the credentials or the NKEY seed for the cluster")
	flags.StringVar(&e.CA, "nats-ca", "", "PEM file with the authority of the cluster's certificates")
	flags.StringVar(&e.System, "nats-system", "", "file with the credentials of the cluster's system account, to check that its servers sync")
	flags.IntVar(&e.Replicas, "nats-replicas", 3, "on how many servers of the cluster a message must lie")
	store := storageFlags(flags)
	return func(cfg *hub.Config) error {
		cfg.Hub, cfg.Keys = *name, *keys
		if *nats != "" {
			e.URLs = strings.Split(*nats, ",")
			cfg.Bus = &e
		}
		var err error
		cfg.Store, err = store()
		return err
	}
}

// storageFlags are those of S3-compatible storage. The returned function says
// what they name once they are parsed; nil: nothing.
func storageFlags(flags *flag.FlagSet) func() (*blob.S3, error) {
	address := flags.String("s3", "", "S3-compatible storage for segments, evidence and ledger: https://HOST/BUCKET or https://HOST/BUCKET/PREFIX")
	c := blob.S3{}
	flags.StringVar(&c.Region, "s3-region", "", "region of the storage")
	flags.StringVar(&c.CA, "s3-ca", "", "PEM file with the authority of the storage's certificate")
	flags.StringVar(&c.AccessKeyFile, "s3-access-key", "", "file with the access key; empty: AWS_ACCESS_KEY_ID")
	flags.StringVar(&c.SecretKeyFile, "s3-secret-key", "", "file with the secret key; empty: AWS_SECRET_ACCESS_KEY")
	return func() (*blob.S3, error) {
		if *address == "" {
			return nil, nil
		}
		return &c, storage(*address, &c)
	}
}

// storage reads the address of a bucket.
func storage(address string, c *blob.S3) error {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
		return fault.New(fault.Invalid, "config.s3").With(fmt.Errorf("address of the storage %q", address))
	}
	c.Endpoint, c.Insecure = u.Host, u.Scheme == "http"
	c.Bucket, c.Prefix, _ = strings.Cut(strings.Trim(u.Path, "/"), "/")
	if c.Bucket == "" {
		return fault.New(fault.Invalid, "config.s3").With(fmt.Errorf("address of the storage %q names no bucket", address))
	}
	return nil
}
