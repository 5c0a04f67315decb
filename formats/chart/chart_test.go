package chart

import (
	"encoding/xml"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func svg(t testing.TB, f *Figure) string {
	t.Helper()
	var b strings.Builder
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(strings.NewReader(b.String()))
	for {
		if _, err := d.Token(); err == io.EOF {
			return b.String()
		} else if err != nil {
			t.Fatalf("%v:\n%s", err, b.String())
		}
	}
}

// TestAxis: a rounded axis holds its values, and its ticks are in it, few and in order.
func TestAxis(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := Axis{Log: rapid.Bool().Draw(t, "log")}
		least := -1e12
		if a.Log {
			least = 1e-9
		}
		values := rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(least, 1e12), rapid.SampledFrom([]float64{max(0, least), 1, 5})), 1, 5).Draw(t, "values")
		a.Fit(values...)
		a.Fit(math.NaN(), math.Inf(1))
		a.Round()
		if !(a.Max > a.Min) {
			t.Fatalf("%+v", a)
		}
		for _, v := range values {
			if p := a.place(v); !(p >= -1e-9 && p <= 1+1e-9) {
				t.Fatalf("%v is at %v of %+v", v, p, a)
			}
		}
		list := a.ticks(7)
		if len(list) > 30 {
			t.Fatalf("%d ticks", len(list))
		}
		for i, v := range list {
			if p := a.place(v); !(p >= -1e-6 && p <= 1+1e-6) || i > 0 && v <= list[i-1] {
				t.Fatalf("ticks %v of %+v", list, a)
			}
		}
	})
}

func TestTickText(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", math.Nextafter(0.3, 1): "0.3", 0.3: "0.3", 1500: "1500", 2e7: "2e+07", 0.00002: "2e-05", -40: "-40"} {
		if got := tickText(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

// TestAnyNumbers: whatever the numbers, a figure has finite coordinates inside it, and few ticks.
func TestAnyNumbers(t *testing.T) {
	t.Parallel()
	coordinates := regexp.MustCompile(` (?:x|y|x1|x2|y1|y2|cx|cy|width|height|d)="([^"]*)"`)
	number := rapid.OneOf(rapid.Float64(), rapid.Float64Range(-2, 2), rapid.SampledFrom([]float64{
		0, 1, 5e-324, -5e-324, 1e-308, 1e308, -1e308, math.MaxFloat64, -math.MaxFloat64, math.Nextafter(1e308, 0), math.Nextafter(1, 2), math.NaN(), math.Inf(1), math.Inf(-1),
	}))
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 5).Draw(rt, "n")
		numbers := rapid.SliceOfN(number, n, n)
		p := Panel{Height: 100, Keys: true, Y: Axis{Log: rapid.Bool().Draw(rt, "log")}, Lines: []Line{{Name: "a", X: numbers.Draw(rt, "x"), Y: numbers.Draw(rt, "y")}}}
		f := &Figure{Width: 400, X: Axis{Log: rapid.Bool().Draw(rt, "log x")}}
		f.X.Fit(p.Lines[0].X...)
		p.Y.Fit(p.Lines[0].Y...)
		f.X.Round()
		p.Y.Round()
		for _, a := range []*Axis{&f.X, &p.Y} {
			if !(a.Max > a.Min) || math.IsInf(a.Min, 0) || math.IsInf(a.Max, 0) {
				rt.Fatalf("%+v", a)
			}
			if list := a.ticks(7); len(list) == 0 || len(list) > 9 || slices.ContainsFunc(list, unknown) {
				rt.Fatalf("ticks %v of %+v", list, a)
			}
		}
		bars := rapid.SliceOfN(number, 4, 4).Draw(rt, "bars")
		for i, x := range p.Lines[0].X {
			p.Points = append(p.Points, Point{X: x, Y: p.Lines[0].Y[i], Left: bars[0], Right: bars[1], Below: bars[2], Above: bars[3], Label: "p"})
		}
		f.Panels = []Panel{p}
		f.Bands = []Band{{From: number.Draw(rt, "from"), To: number.Draw(rt, "to"), Name: "b"}}
		out := svg(t, f)
		if strings.Contains(out, "NaN") || strings.Contains(out, "Inf") {
			rt.Fatal(out)
		}
		for _, m := range coordinates.FindAllStringSubmatch(out, -1) {
			for _, text := range regexp.MustCompile(`-?[0-9.e+]+`).FindAllString(m[1], -1) {
				if v, err := strconv.ParseFloat(text, 64); err != nil || v < -20 || v > 400 {
					rt.Fatalf("%s in %s", text, m[0])
				}
			}
		}
	})
}

// TestText: any text is text, in any place of a figure.
func TestText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Just("</text><script>alert(1)</script>"), rapid.Just("]]>&<\"'\x00\xff\u2028￾")).Draw(rt, "s")
		out := svg(t, &Figure{
			Width: 400, Title: s, X: Axis{Label: s, Max: 1}, Bands: []Band{{From: 0, To: 1, Name: s}},
			Panels: []Panel{{Height: 80, Keys: true, Y: Axis{Label: s, Max: 1}, Lines: []Line{{Name: s, X: []float64{0, 1}, Y: []float64{0, 1}}}, Points: []Point{{X: .5, Y: .5, Label: s, Title: s}}}},
		})
		if strings.Contains(out, "<script") {
			rt.Fatal("an element came out of a text")
		}
	})
}

// TestGaps: what is not known parts a line and is no point.
func TestGaps(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	out := svg(t, &Figure{Width: 300, X: Axis{Max: 4}, Panels: []Panel{{Height: 50, Y: Axis{Max: 1}, Lines: []Line{
		{X: []float64{0, 1, 2, 3, 4}, Y: []float64{0, 1, nan, 1, 0}}, {X: []float64{0}, Y: []float64{nan}},
	}, Points: []Point{{X: nan, Y: 1}}}}})
	_, path, _ := strings.Cut(out, `class="axis"/>`+"\n<text transform")
	if n := strings.Count(path, "M"); n != 2 || strings.Count(path, "<path") != 1 || strings.Contains(out, "<circle") || strings.Contains(out, "NaN") {
		t.Errorf("%d parts:\n%s", n, path)
	}
}
