package anomaly

// Signs of one file, as they stand in records and in words.
const (
	SignMagic     = "magic"     // the first bytes of its kind are gone
	SignStructure = "structure" // checksums or tables inside do not fit any more
	SignTail      = "tail"      // the marker at its end is gone
	SignWindow    = "window"    // 4 KiB of it look random, and did not before
	SignChi2      = "chi2"      // all of it looks random, and did not before
	SignRatio     = "ratio"     // it cannot be compressed any more
	SignRise      = "rise"      // it is compressed much less than before
	SignSealed    = "sealed"    // encrypted by a program that people use
	SignNoise     = "noise"     // new, of no known kind, and random
	SignCanary    = "canary"    // nobody has a reason to touch it
)

// small is the least size in bytes of which a ratio or an entropy says
// anything.
const small = 512

// version is one version of a file: what its bytes say, and how the repository
// keeps it.
type version struct {
	Look
	Size  uint64
	Ratio float64 // stored / size; 0: not known, the repository does not compress
}

// compare returns the sign that a file was made unusable between two versions,
// "" when there is none. The numbers are measured on 17 kinds of files, see the
// reference in doc/bench-anomaly.md.
func compare(old, now version) string {
	switch {
	case now.Sealed && !old.Sealed:
		return SignSealed
	case now.Structure == Sound, now.Seen == 0, now.Sealed:
		return ""
	case old.Kind != "" && now.Kind == "" && old.Kind != kindSealed && (old.Kind != kindText || now.Entropy > 0.85):
		return SignMagic
	case old.Kind == now.Kind && old.Structure == Sound && now.Structure == Broken:
		return SignStructure
	case old.Kind == now.Kind && old.Tail == Sound && now.Tail == Broken:
		return SignTail
	case packed(now.Kind) && now.Kind != old.Kind: // another file of the same name
		return ""
	}
	return spread(old, now)
}

// spread compares how even the bytes are.
func spread(old, now version) string {
	if old.Size < small || now.Size < small {
		return ""
	}
	squeezed := old.Ratio > 0 && now.Ratio > 0
	switch {
	case now.Entropy > 0.97 && old.Entropy > 0 && old.Entropy < 0.85:
		return SignWindow
	case now.Chi2 < 400 && old.Chi2 > 1000:
		return SignChi2
	case squeezed && now.Ratio > 0.95 && old.Ratio < 0.85:
		return SignRatio
	case squeezed && now.Ratio-old.Ratio > 0.15 && now.Ratio > 1.25*old.Ratio:
		return SignRise
	}
	return ""
}

// alone returns the sign of a new file that replaces nothing by its name.
func alone(now version) string {
	switch {
	case now.Sealed:
		return SignSealed
	case now.Kind == "" && now.Size >= small && now.Entropy > 0.97 && now.Chi2 < 1000:
		return SignNoise
	}
	return ""
}
