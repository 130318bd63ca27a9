package evidence

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
)

// PacketFile is where the packets of a machine stand in its bag.
const PacketFile = "network/packets.pcapng"

// HasPackets says whether a bag holds packets.
func (b Bag) HasPackets() bool {
	for _, it := range b.Items {
		if it.Path == PacketFile && !it.missing() {
			return true
		}
	}
	return false
}

// Packets writes the packets in a sealed bag to w as pcapng. That they left
// stands in the custody record, with what for and their hash, before the first
// byte does.
func (v *Vault) Packets(ctx context.Context, id string, w io.Writer, purpose string, by auth.Person) error {
	if purpose = strings.TrimSpace(purpose); purpose == "" || len(purpose) > maxMethod {
		return fault.New(fault.Invalid, "evidence.purpose")
	}
	items, err := v.items(ctx, id)
	if err != nil {
		return err
	}
	it, ok := items[PacketFile]
	if !ok || it.missing() {
		return fault.New(fault.Missing, "evidence.no-packets")
	}
	err = v.sealedEvent(ctx, Custody{Bag: id, What: "exported", By: by.ID, Purpose: purpose, Item: it.Path, SHA256: it.SHA256})
	if err != nil {
		return err
	}
	if _, err := v.sealedNames(ctx, id); err != nil { // it may be with another hub yet
		return fmt.Errorf("packets of %s: %w", id, err)
	}
	f, err := os.Open(v.pathOf(it))
	if err != nil {
		return fmt.Errorf("packets of %s: %w", id, err)
	}
	defer f.Close()
	if _, err := io.Copy(&stoppable{ctx, w}, f); err != nil {
		return fmt.Errorf("packets of %s: %w", id, err)
	}
	return nil
}
