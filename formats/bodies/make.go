package bodies

import (
	"cmp"
	"errors"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats"
	"wattrace/formats/tokens"
	"wattrace/formats/traces"
	"wattrace/trace"
)

// Options say what bodies to make.
type Options struct {
	Model        string // name of the model; "" will do where the rows name one
	Target       string // kind of server, one of Targets; "" is the first
	NoStream     bool   // ask for whole answers
	Completions  bool   // texts are completions, not what a user says in a chat
	OutputTokens int64  // to ask for where a row does not say; 0 leaves it open
	Tokenizer    string // path of a tokenizer.json; "" is none
	AsText       bool   // texts of so many tokens where there are only lengths; needs Tokenizer

	Codec traces.Options // Vocab is the tokenizer's where there is one
}

// A Maker makes bodies. It is not safe for concurrent use.
type Maker struct {
	target target
	model  []byte // as a JSON string
	stream bool
	plain  bool // texts are completions
	output int64
	texts  *texts
	codec  traces.Options

	paths int64 // of adapters, that did not get into bodies
}

// New returns a Maker. It reads the tokenizer, if there is one.
func New(o Options) (*Maker, error) {
	m := &Maker{stream: !o.NoStream, plain: o.Completions, output: o.OutputTokens, codec: o.Codec}
	var err error
	if m.target, err = findTarget(cmp.Or(o.Target, targets[0].name)); err != nil {
		return nil, err
	}
	if !utf8.ValidString(o.Model) {
		return nil, errors.New("the model's name is not UTF-8")
	}
	if m.model, err = jsontext.AppendQuote(nil, o.Model); err != nil {
		return nil, err
	}
	if m.texts, err = openTexts(o.Tokenizer, o.AsText); err != nil {
		return nil, err
	}
	switch {
	case m.texts.tok != nil:
		m.codec.Vocab = m.texts.vocab()
	case m.codec.Vocab == 0:
		m.codec.Vocab = tokens.Default
	}
	return m, nil
}

// Codec returns the options with which a codec must be opened whose rows Append is given.
func (b *Maker) Codec() traces.Options { return b.codec }

// Append appends the body of a row, and stores in row what was found out of its lengths. What
// it had made for a length is replaced by what the tokenizer has. The error is a
// *trace.SyntaxError of a row that the target cannot be asked, or final, as ErrNoModel.
func (b *Maker) Append(dst []byte, row *formats.Request) ([]byte, error) {
	if err := b.texts.make(row); err != nil {
		return dst, err
	}
	if b.texts.tok != nil {
		if err := b.texts.length(row); err != nil {
			return dst, err
		}
	}
	if err := b.texts.answer(row); err != nil {
		return dst, err
	}
	if !row.Timing.OutputTokens.OK && row.Body == nil && b.output > 0 && !limited(row.Extra) {
		row.Timing.OutputTokens = trace.Some(b.output)
	}
	return b.appendRow(dst, row)
}

// Count stores how many tokens the prompt of a row has, if that is not known and can be
// counted: those of its texts, without what a chat template puts around them. The error is
// a *trace.SyntaxError of the row.
func (b *Maker) Count(row *formats.Request) error { return b.texts.length(row) }

// Omissions returns what of the rows so far did not get into their bodies.
func (b *Maker) Omissions() []formats.Omission {
	return []formats.Omission{{What: "paths of adapters, which the server must know by name", N: b.paths}}
}

// Unwritten returns what a body's fault means, which trace.Writer found: a *trace.SyntaxError of the
// row. Any other error is returned as it is. checked says that the body is the row's own.
func Unwritten(row *formats.Request, checked bool, err error) error {
	var column *trace.ColumnError
	switch {
	case !errors.As(err, &column):
		return err
	case checked:
		return trace.ErrorAt(row.Pos, column)
	}
	return &trace.SyntaxError{Pos: row.Pos, Err: column.Err}
}

// FaultOf returns a fault of a whole row.
func FaultOf(row *formats.Request, err error) error {
	pos := row.Pos
	pos.Col = max(pos.Col, 1)
	return &trace.SyntaxError{Pos: pos, Err: err}
}
