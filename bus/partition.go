package bus

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
)

// partitionCount is into how many parts a partitioned stream is cut. It is
// part of the stored subjects: a change would let messages of one host be
// handled by two.
const partitionCount = 16

// partitions knows the streams that are cut. A subject of such a stream gets
// a second token, "@00" to "@15", from its last one; no site or host has such
// a name.
type partitions map[string]string // stream → subject as it is published, with wildcards

func newPartitions(subjects []string) (partitions, error) {
	p := partitions{}
	for _, s := range subjects {
		stream, rest, ok := strings.Cut(s, ".")
		if !ok || stream == "" || strings.Trim(rest, ".*") != "" || rest == "" {
			return nil, fmt.Errorf("partitioned subject %q: want a stream and wildcards, as event.*.*", s)
		}
		p[stream] = s
	}
	return p, nil
}

// place puts the partition into a subject of a partitioned stream.
func (p partitions) place(subject string) string {
	stream, rest, ok := strings.Cut(subject, ".")
	if _, cut := p[stream]; !cut || !ok || strings.HasPrefix(rest, "@") {
		return subject
	}
	return stream + "." + token(partitionOf(subject)) + "." + rest
}

// plain is the subject as it was published.
func plain(subject string) string {
	stream, rest, _ := strings.Cut(subject, ".")
	if strings.HasPrefix(rest, "@") {
		_, rest, _ = strings.Cut(rest, ".")
		return stream + "." + rest
	}
	return subject
}

// filters are the subjects under which messages of a join are stored: with
// the partition and, from before there were partitions, without.
func (p partitions) filters(subject string) []string {
	stream, rest, _ := strings.Cut(subject, ".")
	if _, cut := p[stream]; !cut || rest == ">" {
		return []string{subject}
	}
	return []string{subject, stream + ".*." + rest}
}

func partitionOf(subject string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(subject[strings.LastIndexByte(subject, '.')+1:])) // never fails
	return int(h.Sum32() % partitionCount)
}

func token(partition int) string { return fmt.Sprintf("@%02d", partition) }

// lanes are the consumers of a partitioned join: one for what was stored
// before the stream was cut, then one for each partition.
func (p partitions) lanes(j Join) ([]lane, error) {
	stream, rest, _ := strings.Cut(j.subject, ".")
	old, cut := p[stream]
	if !cut || rest != ">" || j.max != 1 {
		return nil, fmt.Errorf("%s cannot be partitioned: it needs a stream of Config.Partitioned as a whole, one message at a time", j.name)
	}
	all := []lane{{name: j.name, filters: []string{old}}}
	for i := range partitionCount {
		all = append(all, lane{name: fmt.Sprintf("%s-p%02d", j.name, i), filters: []string{stream + "." + token(i) + ".>"}, partition: i})
	}
	return all, nil
}

// lane is one consumer of a join.
type lane struct {
	name      string
	filters   []string
	partition int
}

// owned says whether this hub handles a partition now. Hubs share them out by
// the order of their names, so all come to the same answer from the same list.
func owned(partition int, hub string, alive []string) bool {
	i := slices.Index(alive, hub)
	return i >= 0 && partition%len(alive) == i
}
