package telemetry

import (
	"github.com/apache/arrow/go/v17/arrow"

	"wattrace/sample"
)

// The identity columns, in their order before the metrics; time and took_nanos
// stand before host, device_index between device and source.
const (
	colTime   = "time"
	colTook   = "took_nanos"
	colHost   = "host"
	colDevice = "device"
	colIndex  = "device_index"
	colSource = "source"
	colScope  = "scope"
	colMark   = "mark"
	colStatus = "status"
)

var (
	timeType     = &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}
	identityType = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Uint8, ValueType: arrow.BinaryTypes.String}
)

// arrowFields returns the columns of a recording that has the metrics, and
// marks if it has any.
func arrowFields(metrics []sample.MetricID, marks bool) []arrow.Field {
	fields := []arrow.Field{
		{Name: colTime, Type: timeType},
		{Name: colTook, Type: arrow.PrimitiveTypes.Int64, Metadata: arrow.NewMetadata([]string{"unit"}, []string{"ns"})},
		{Name: colHost, Type: identityType},
		{Name: colDevice, Type: identityType},
		{Name: colIndex, Type: arrow.PrimitiveTypes.Int32},
		{Name: colSource, Type: identityType},
		{Name: colScope, Type: identityType},
	}
	for _, id := range metrics {
		m := sample.Metrics[id]
		typ := arrow.PrimitiveTypes.Float64
		if m.Type == sample.Uint64 {
			typ = arrow.PrimitiveTypes.Uint64
		}
		fields = append(fields, arrow.Field{
			Name: m.Name, Type: typ, Nullable: true,
			Metadata: arrow.NewMetadata([]string{"unit", "kind"}, []string{m.Unit, string(m.Kind)}),
		})
	}
	if marks {
		fields = append(fields, arrow.Field{Name: colMark, Type: arrow.BinaryTypes.String, Nullable: true})
	}
	return append(fields, arrow.Field{Name: colStatus, Type: arrow.BinaryTypes.String, Nullable: true})
}
