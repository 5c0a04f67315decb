package traceflags

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/bodies"
	"wattrace/formats/tokens"
	"wattrace/formats/traces"
)

// Flags are the flags. List makes them; a tool that has some of its own for the same fields
// sets those before it calls other methods.
type Flags struct {
	Model, Target, Endpoint string
	NoStream                bool
	Format                  string
	Block, Vocab            int
	OutputTokens            int
	Turns, Tokenizer        string
	AsText                  bool

	formatFlag string
}

// List returns the flags, without those that are named. That of the format has the given name.
func (f *Flags) List(format string, except ...string) []ucli.Flag {
	f.formatFlag = format
	f.Target, f.Endpoint, f.Vocab, f.Turns = bodies.Targets()[0], "chat", int(tokens.Default), "first"
	all := []ucli.Flag{
		&ucli.StringFlag{Name: "model", Usage: "`NAME` of the model in the bodies; needed unless all rows are bodies", Destination: &f.Model},
		&ucli.StringFlag{Name: "target", Usage: "`SERVER` whose keys to use: " + strings.Join(bodies.Targets(), ", "), Value: f.Target, Destination: &f.Target},
		&ucli.StringFlag{Name: "endpoint", Usage: "what texts become: `chat|completions`", Value: f.Endpoint, Destination: &f.Endpoint},
		&ucli.BoolFlag{Name: "no-stream", Usage: "ask for whole answers instead of streams", Destination: &f.NoStream},
		&ucli.StringFlag{Name: format, Usage: "`FORMAT` of the input: " + traces.Names() + "; found out when not given", Destination: &f.Format},
		&ucli.IntFlag{Name: "block-size", Usage: "tokens of a block that has a hash: `N`; 512, of Bailian's traces 16", Destination: &f.Block},
		&ucli.IntFlag{Name: "vocab", Usage: "make token ids for a vocabulary of `N`: from 1,000 to N-1", Value: f.Vocab, Destination: &f.Vocab},
		&ucli.IntFlag{Name: "output-tokens", Usage: "ask for `N` tokens where the input does not say how many", Destination: &f.OutputTokens},
		&ucli.StringFlag{Name: "turns", Usage: "`WHICH` questions of a conversation whose answers are not known: first, or user-only for all, as turns without the answers", Value: f.Turns, Destination: &f.Turns},
		&ucli.StringFlag{Name: "tokenizer", Usage: "count, and make prompts, by the tokenizer.json `FILE`, instead of --vocab", Destination: &f.Tokenizer},
		&ucli.BoolFlag{Name: "as-text", Usage: "make texts of so many tokens where there are only lengths, not token ids", Destination: &f.AsText},
	}
	return slices.DeleteFunc(all, func(flag ucli.Flag) bool { return slices.Contains(except, flag.Names()[0]) })
}

// Names returns the names of the flags that shape bodies, and mean nothing where these are
// there already: all but the format's.
func (f *Flags) Names() []string {
	return []string{"model", "target", "endpoint", "no-stream", "block-size", "vocab", "output-tokens", "turns", "tokenizer", "as-text"}
}

// Options returns what the flags say. An error is of usage.
func (f *Flags) Options(isSet func(string) bool) (o bodies.Options, err error) {
	v := tokens.Vocab(f.Vocab)
	switch {
	case isSet("block-size") && f.Block < 1:
		return o, cli.Usagef("--block-size %d: want at least 1", f.Block)
	case isSet("output-tokens") && (f.OutputTokens < 1 || f.OutputTokens > math.MaxInt32):
		return o, cli.Usagef("--output-tokens %d: want 1 to %d", f.OutputTokens, math.MaxInt32)
	case isSet("vocab") && f.Tokenizer != "":
		return o, cli.Usagef("--vocab and --tokenizer: the tokenizer has a vocabulary")
	case f.Endpoint != "chat" && f.Endpoint != "completions":
		return o, cli.Usagef("--endpoint %q: want chat or completions", f.Endpoint)
	case f.Vocab > math.MaxInt32:
		return o, cli.Usagef("--vocab %d: too large", f.Vocab)
	case f.Turns != "first" && f.Turns != "user-only":
		return o, cli.Usagef("--turns %q: want first or user-only", f.Turns)
	case v.Check() != nil:
		return o, cli.Usagef("--vocab: %s", v.Check())
	case !slices.Contains(bodies.Targets(), f.Target):
		return o, cli.Usagef("--target %q: want %s", f.Target, strings.Join(bodies.Targets(), ", "))
	case !utf8.ValidString(f.Model):
		return o, cli.Usagef("--model: not UTF-8")
	case f.AsText && f.Tokenizer == "":
		return o, cli.Usagef("--as-text needs a --tokenizer")
	}
	return bodies.Options{
		Model: f.Model, Target: f.Target, NoStream: f.NoStream, Completions: f.Endpoint == "completions",
		OutputTokens: int64(f.OutputTokens), Tokenizer: f.Tokenizer, AsText: f.AsText,
		Codec: traces.Options{BlockTokens: f.Block, Vocab: v, AllTurns: f.Turns == "user-only"},
	}, nil
}

// CheckTurns refuses --turns for a format whose turns are all known.
func (f *Flags) CheckTurns(codec traces.Codec) error {
	if f.Turns != "first" && !codec.Turns {
		return cli.Usagef("--turns: of a %s all turns are known", codec.Kind)
	}
	return nil
}

// Refuse refuses the flags of names that are set, where an input has its bodies already.
func Refuse(isSet func(string) bool, path string, names []string) error {
	for _, name := range names {
		if isSet(name) {
			return cli.Usagef("--%s is for the bodies that are made of another tool's trace, and those of %s stay as they are", name, path)
		}
	}
	return nil
}
