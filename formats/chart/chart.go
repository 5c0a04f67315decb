package chart

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Figure is panels above each other.
type Figure struct {
	Width  int // of all, in units of 1/96 inch
	Title  string
	X      Axis
	Bands  []Band // drawn in every panel
	Panels []Panel
	// Inline is a figure inside a page: without a background, and with no name space of its own.
	Inline bool
}

// Panel is one vertical axis and what is drawn on it.
type Panel struct {
	Height int
	Y      Axis
	Lines  []Line
	Points []Point
	// Keys lists the lines that have a name; without it labels have to say it.
	Keys bool
}

// Band is a span of the horizontal axis.
type Band struct {
	From, To float64
	Name     string
	Quiet    bool // in a lighter shade, as of what is not measured
}

// Line is a line through points; NaN and infinity of either part it.
type Line struct {
	Name   string
	X, Y   []float64
	Colour int  // of the palette
	Dashed bool // as limits and fronts are
	Thin   bool
}

// Point is a mark with error bars, half lengths of which NaN or 0 is none.
type Point struct {
	X, Y             float64
	Left, Right      float64
	Below, Above     float64
	Label            string // drawn beside it
	Title            string // shown on pointing at it
	Colour           int
	Hollow           bool // as what is not on the front
	LabelLeft, Lower bool // where the label stands
}

// palette has Okabe and Ito's colours, which people with any kind of colour vision tell
// apart, in the order of contrast with white.
var palette = [...]string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f6000", "#555555"}

// Colours is the length of the palette: colour n is that of n modulo it.
const Colours = len(palette)

const (
	left, right, gap = 64, 16, 16
	fontSize         = 12
	charWidth        = 6.6 // of one of that size, about
	mostName         = 60  // characters of a text
)

// Write writes the figure.
func (f *Figure) Write(w io.Writer) error {
	d := &drawing{Writer: bufio.NewWriter(w), f: f}
	d.figure(0)
	return d.Flush()
}

// WriteColumn writes figures below each other as one.
func WriteColumn(w io.Writer, figures ...*Figure) error {
	b := bufio.NewWriter(w)
	width, height := 0, 0
	for _, f := range figures {
		_, h := (&drawing{f: f}).size()
		width, height = max(width, f.Width), height+h
	}
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d">`+"\n", width, height, width, height)
	at := 0
	for _, f := range figures {
		d := &drawing{Writer: b, f: f}
		d.figure(at)
		_, h := d.size()
		at += h
	}
	b.WriteString("</svg>\n")
	return b.Flush()
}

type drawing struct {
	*bufio.Writer
	f *Figure
}

// size returns where the first panel is to begin, and the height of all.
func (d *drawing) size() (top, height int) {
	top = gap / 2
	if d.f.Title != "" {
		top += 22
	}
	if d.named() {
		top += 16
	}
	if top == gap/2 && len(d.f.Panels) > 0 && d.keysHeight(&d.f.Panels[0]) > 0 {
		top += 8 // keys of the first panel stand higher than its top
	}
	height = top
	for i := range d.f.Panels {
		height += d.f.Panels[i].Height + gap + d.keysHeight(&d.f.Panels[i])
	}
	return top, height + 36 // the horizontal axis
}

// named reports whether names of bands stand above the first panel.
func (d *drawing) named() bool {
	return slices.ContainsFunc(d.f.Bands, func(b Band) bool { return b.Name != "" })
}

// figure draws the figure; at is where it begins inside another.
func (d *drawing) figure(at int) {
	top, height := d.size()
	ns := ` xmlns="http://www.w3.org/2000/svg"`
	if d.f.Inline {
		ns = ""
	}
	if at > 0 {
		ns += fmt.Sprintf(` y="%d"`, at)
	}
	fmt.Fprintf(d, `<svg%s viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="%d" role="img"`, ns, d.f.Width, height, d.f.Width, height, fontSize)
	if d.f.Title != "" {
		fmt.Fprintf(d, ` aria-label="%s"`, Text(d.f.Title))
	}
	d.WriteString(">\n")
	if !d.f.Inline {
		fmt.Fprintf(d, "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", d.f.Width, height)
	}
	if d.f.Title != "" {
		d.text(float64(d.f.Width)/2, 18, "middle", "title", d.f.Title)
	}
	y := top
	for i := range d.f.Panels {
		p := &d.f.Panels[i]
		y += d.keys(p, y)
		d.panel(p, float64(y), i == 0 && d.named(), i == len(d.f.Panels)-1)
		y += p.Height + gap
	}
	d.text(left+d.inner()/2, float64(height)-6, "middle", "label", d.f.X.Label)
	d.WriteString("</svg>\n")
}

func (d *drawing) inner() float64 { return float64(d.f.Width - left - right) }

func (d *drawing) x(v float64) float64 { return left + clamp(d.f.X.place(v))*d.inner() }

func clamp(v float64) float64 { return min(max(v, 0), 1) }

func (d *drawing) text(x, y float64, anchor, class, s string) {
	fmt.Fprintf(d, `<text x="%s" y="%s" text-anchor="%s" class="%s" fill="#222">%s</text>`+"\n", num(x), num(y), anchor, class, Text(s))
}

func (d *drawing) panel(p *Panel, top float64, names, last bool) {
	bottom := top + float64(p.Height)
	y := func(v float64) float64 { return bottom - clamp(p.Y.place(v))*float64(p.Height) }
	until := math.Inf(-1)
	for _, b := range d.f.Bands {
		if !(b.From <= b.To) || b.To < d.f.X.Min || b.From > d.f.X.Max {
			continue
		}
		from, to := d.x(b.From), d.x(b.To)
		fill := "#dcebf7"
		class := "band"
		if b.Quiet {
			fill, class = "#f0f0f0", "band quiet"
		}
		fmt.Fprintf(d, `<rect x="%s" y="%s" width="%s" height="%d" fill="%s" class="%s"/>`+"\n", num(from), num(top), num(to-from), p.Height, fill, class)
		fmt.Fprintf(d, `<line x1="%s" x2="%s" y1="%s" y2="%s" stroke="#bbb" class="axis thin" stroke-width="0.5"/>`+"\n", num(from), num(from), num(top), num(bottom))
		if name := cut(b.Name, max(int((to-from)/charWidth), 0)); names && name != "" && from >= until {
			d.text(from+2, top-4, "start", "bandname", name)
			until = from + float64(len([]rune(name)))*charWidth
		}
	}
	for _, v := range p.Y.ticks(max(3, p.Height/26)) {
		fmt.Fprintf(d, `<line x1="%d" x2="%s" y1="%s" y2="%s" stroke="#ddd" class="grid"/>`+"\n", left, num(left+d.inner()), num(y(v)), num(y(v)))
		d.text(left-6, y(v)+4, "end", "tick", tickText(v))
	}
	for _, v := range d.f.X.ticks(max(3, int(d.inner()/70))) {
		fmt.Fprintf(d, `<line x1="%s" x2="%s" y1="%s" y2="%s" stroke="#888" class="axis"/>`+"\n", num(d.x(v)), num(d.x(v)), num(bottom), num(bottom+4))
		if last {
			d.text(d.x(v), bottom+17, "middle", "tick", tickText(v))
		}
	}
	fmt.Fprintf(d, `<path d="M%d %sV%sH%s" fill="none" stroke="#888" class="axis"/>`+"\n", left, num(top), num(bottom), num(left+d.inner()))
	fmt.Fprintf(d, `<text transform="translate(14 %s) rotate(-90)" text-anchor="middle" class="label" fill="#222">%s</text>`+"\n", num((top+bottom)/2), Text(p.Y.Label))
	for i := range p.Lines {
		d.line(&p.Lines[i], y)
	}
	for i := range p.Points {
		d.point(&p.Points[i], y)
	}
}

// line draws a line; what follows a point by less than can be seen is left out.
func (d *drawing) line(l *Line, y func(float64) float64) {
	var path strings.Builder
	open := false
	for i, v := range l.Y {
		if unknown(v) || unknown(l.X[i]) {
			open = false
			continue
		}
		command := "L"
		if !open {
			command = "M"
		}
		open = true
		path.WriteString(command + num(d.x(l.X[i])) + " " + num(y(v)))
	}
	if path.Len() == 0 {
		return
	}
	width, dash := "1.5", ""
	if l.Thin {
		width = "0.8"
	}
	if l.Dashed {
		dash = ` stroke-dasharray="5 3"`
	}
	fmt.Fprintf(d, `<path d="%s" fill="none" stroke="%s" stroke-width="%s" stroke-linejoin="round"%s class="line s%d"/>`+"\n",
		path.String(), palette[l.Colour%Colours], width, dash, l.Colour%Colours)
}

func (d *drawing) point(p *Point, y func(float64) float64) {
	if unknown(p.X) || unknown(p.Y) {
		return
	}
	colour, class := palette[p.Colour%Colours], fmt.Sprintf("s%d", p.Colour%Colours)
	px, py := d.x(p.X), y(p.Y)
	d.WriteString(`<g class="point">`)
	if p.Title != "" {
		fmt.Fprintf(d, "<title>%s</title>", Text(p.Title))
	}
	if p.Left > 0 || p.Right > 0 {
		fmt.Fprintf(d, `<line x1="%s" x2="%s" y1="%s" y2="%s" stroke="%s" class="bar %s"/>`, num(d.x(p.X-p.Left)), num(d.x(p.X+p.Right)), num(py), num(py), colour, class)
	}
	if p.Below > 0 || p.Above > 0 {
		fmt.Fprintf(d, `<line x1="%s" x2="%s" y1="%s" y2="%s" stroke="%s" class="bar %s"/>`, num(px), num(px), num(y(p.Y-p.Below)), num(y(p.Y+p.Above)), colour, class)
	}
	fill := colour
	if p.Hollow {
		fill, class = "#fff", class+" hollow"
	}
	fmt.Fprintf(d, `<circle cx="%s" cy="%s" r="4" fill="%s" stroke="%s" class="mark %s"/>`, num(px), num(py), fill, colour, class)
	if p.Label != "" {
		dx, anchor, dy := 7.0, "start", -6.0
		if p.LabelLeft {
			dx, anchor = -7, "end"
		}
		if p.Lower {
			dy = 15
		}
		d.text(px+dx, py+dy, anchor, "pointname", cut(p.Label, 40))
	}
	d.WriteString("</g>\n")
}

// keysWidth is what the key of a line takes.
func keysWidth(name string) float64 {
	return float64(len([]rune(cut(name, 30))))*charWidth + 34
}

// keyRows puts the keys of a panel into rows.
func (d *drawing) keyRows(p *Panel) (rows [][]*Line) {
	if !p.Keys {
		return nil
	}
	at := math.Inf(1)
	for i := range p.Lines {
		l := &p.Lines[i]
		if l.Name == "" {
			continue
		}
		if at+keysWidth(l.Name) > d.inner() {
			rows, at = append(rows, nil), 0
		}
		at += keysWidth(l.Name)
		rows[len(rows)-1] = append(rows[len(rows)-1], l)
	}
	return rows
}

func (d *drawing) keysHeight(p *Panel) int { return 16 * len(d.keyRows(p)) }

// keys draws the keys of a panel above it; names of bands stand below them.
func (d *drawing) keys(p *Panel, top int) int {
	for i, row := range d.keyRows(p) {
		at, y := float64(left), float64(top+16*i)-2
		if i == 0 && p == &d.f.Panels[0] {
			y -= 5
		}
		for _, l := range row {
			dash := ""
			if l.Dashed {
				dash = ` stroke-dasharray="5 3"`
			}
			fmt.Fprintf(d, `<line x1="%s" x2="%s" y1="%s" y2="%s" stroke="%s" stroke-width="2"%s class="line s%d"/>`, num(at), num(at+18), num(y), num(y), palette[l.Colour%Colours], dash, l.Colour%Colours)
			d.text(at+22, y+4, "start", "key", cut(l.Name, 30))
			at += keysWidth(l.Name)
		}
	}
	return d.keysHeight(p)
}

// unknown are the numbers that have no place on an axis.
func unknown(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }

// num writes a coordinate to a tenth; one that is no number would spoil the whole figure.
func num(v float64) string {
	if unknown(v) {
		v = 0
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

// cut shortens a text to so many characters.
func cut(s string, most int) string {
	r := []rune(s)
	switch {
	case len(r) <= most:
		return s
	case most < 3:
		return ""
	}
	return string(r[:most-1]) + "…"
}

var escapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;")

// Text returns a text for XML and HTML: escaped, cut where it is very long, and without
// what XML 1.0 does not have.
func Text(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0xfffe || r == 0xffff || r == 0x2028 || r == 0x2029:
			return '�'
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	return escapes.Replace(cut(s, mostName))
}
