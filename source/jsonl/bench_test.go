package jsonl

import (
	"bytes"
	"testing"

	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/sourcetest"
)

// some are the first lines of real telemetry, 2 MB of them.
func some(b *testing.B) []byte {
	all := otrf(b)[:2<<20]
	return all[:bytes.LastIndexByte(all, '\n')+1]
}

func BenchmarkPlain(b *testing.B) { sourcetest.Bench(b, Plain, source.Options{}, some(b)) }

func BenchmarkRead(b *testing.B) { sourcetest.Bench(b, Read, source.Options{}, some(b)) }

func BenchmarkTwins(b *testing.B) {
	var all []byte
	twins2(b, &all)
	sourcetest.Bench(b, Read, source.Options{}, all)
}

func twins2(b *testing.B, all *[]byte) {
	b.Helper()
	twins(b, func(_ string, text []byte) { *all = append(*all, text...) })
}
