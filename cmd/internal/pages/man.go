package main

import (
	"fmt"
	"go/doc/comment"
	"strings"
)

// man returns the page in the macros of man(7): the package comment and the flags.
func (t tool) man(text string) string {
	var b strings.Builder
	full := "wattrace-" + t.name
	fmt.Fprintf(&b, ".TH %s 1 \"%s\" \"%s\" \"wattrace\"\n", roff(strings.ToUpper(full)), t.date, roff(t.version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(full), roff(t.usage))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n[flags] %s\n.SH DESCRIPTION\n", roff(full), roff(t.args))
	var p comment.Parser
	roffBlocks(&b, p.Parse(text).Content)
	b.WriteString(".SH OPTIONS\n")
	for _, o := range t.flags {
		b.WriteString(".TP\n")
		for i, name := range o.names {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "\\fB%s\\fR", roff(name))
			if o.value != "" {
				fmt.Fprintf(&b, " \\fI%s\\fR", roff(o.value))
			}
		}
		b.WriteString("\n" + roffLine(o.usage))
		if o.preset != "" {
			b.WriteString(roff(" (default: " + o.preset + ")"))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, ".SH EXIT STATUS\n%s\n", roffLine(t.exits))
	return b.String()
}

// roffBlocks writes a comment. Its headings are sections.
func roffBlocks(b *strings.Builder, blocks []comment.Block) {
	first := true // nothing stands between it and the heading
	for _, block := range blocks {
		switch v := block.(type) {
		case *comment.Heading:
			fmt.Fprintf(b, ".SH %s\n", strings.ToUpper(roff(plain(v.Text))))
			first = true
			continue
		case *comment.Paragraph:
			if !first {
				b.WriteString(".PP\n")
			}
			b.WriteString(roffLine(strings.ReplaceAll(plain(v.Text), "\n", " ")) + "\n")
		case *comment.Code:
			if !first {
				b.WriteString(".PP\n")
			}
			b.WriteString(".RS 4\n.nf\n")
			for line := range strings.SplitSeq(strings.TrimSuffix(v.Text, "\n"), "\n") {
				b.WriteString(roffLine(line) + "\n")
			}
			b.WriteString(".fi\n.RE\n")
		case *comment.List:
			for _, item := range v.Items {
				mark := "\\(bu"
				if item.Number != "" {
					mark = item.Number + "."
				}
				fmt.Fprintf(b, ".IP %s 4\n", mark)
				roffBlocks(b, item.Content)
			}
		}
		first = false
	}
}

// plain is the text of a comment without links.
func plain(list []comment.Text) string {
	var b strings.Builder
	for _, t := range list {
		switch v := t.(type) {
		case comment.Plain:
			b.WriteString(string(v))
		case comment.Italic:
			b.WriteString(string(v))
		case *comment.Link:
			b.WriteString(plain(v.Text))
		case *comment.DocLink:
			b.WriteString(plain(v.Text))
		}
	}
	return b.String()
}

var roffEscapes = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `"`, `\(dq`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`)

// roff escapes what is not itself to roff.
func roff(text string) string { return roffEscapes.Replace(text) }

// roffLine also keeps a line from being a request.
func roffLine(text string) string {
	if strings.HasPrefix(text, ".") {
		return `\&` + roff(text)
	}
	return roff(text)
}
