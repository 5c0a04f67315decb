package traces

import "wattrace/formats"

// A Codec is a format that requests can come in.
type Codec struct {
	Name string       // as convert --from takes it; the package in formats, where there is one
	Kind formats.Kind // what formats.Sniff calls it
	Doc  string       // one line
}

// Codecs lists every trace format once.
var Codecs = []Codec{
	{"raw_payload", formats.RawPayload, "request bodies, one per line, sent as they are (package trace)"},
	{"trtllm", formats.TRTLLM, "trtllm-bench dataset: prompts or token ids, one per line"},
}

// ByName finds a codec by its name.
func ByName(name string) (Codec, bool) {
	for _, c := range Codecs {
		if c.Name == name {
			return c, true
		}
	}
	return Codec{}, false
}

// ByKind finds the codec of a sniffed kind.
func ByKind(kind formats.Kind) (Codec, bool) {
	for _, c := range Codecs {
		if c.Kind == kind {
			return c, true
		}
	}
	return Codec{}, false
}
