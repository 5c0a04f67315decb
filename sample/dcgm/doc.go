// Package dcgm reads the page of metrics of a dcgm-exporter, of one host or of
// several.
//
// # Fields
//
// A field has the name of the DCGM version that the exporter was built with; those
// after the bar are the same field's in DCGM's main branch of 2026.
//
//	DCGM_FI_DEV_POWER_USAGE | BOARD_POWER_WATTS                      155   power_watts
//	DCGM_FI_DEV_POWER_USAGE_INSTANT | BOARD_POWER_RAW_WATTS          157   power_instant_watts
//	DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION                             156   energy_joules, of mJ
//	DCGM_FI_DEV_ENFORCED_POWER_LIMIT | BOARD_POWER_LIMIT_ENFORCED_WATTS   164   power_limit_watts
//	DCGM_FI_DEV_POWER_MGMT_LIMIT | BOARD_POWER_LIMIT_REQUESTED_WATTS      160   the same, where 164 is missing
//	DCGM_FI_DEV_GPU_UTIL | GPU_UTIL_RATIO, of percent                203   gpu_utilization
//	DCGM_FI_DEV_MEM_COPY_UTIL, of percent                            204   memory_utilization
//	DCGM_FI_DEV_FB_USED, of MiB                                      252   memory_used_bytes
//	DCGM_FI_DEV_GPU_TEMP | GPU_TEMP_CELSIUS                          150   temperature_celsius
//	DCGM_FI_DEV_MEMORY_TEMP | MEMORY_TEMP_CELSIUS                    140   memory_temperature_celsius
//	DCGM_FI_DEV_SM_CLOCK, DCGM_FI_DEV_MEM_CLOCK, of MHz         100, 101   sm_clock_hertz, memory_clock_hertz
//	DCGM_FI_DEV_CLOCK_THROTTLE_REASONS | CLOCKS_EVENT_REASONS        112   clock_event_reasons
//	DCGM_FI_DEV_POWER_VIOLATION, of ns                               240   power_cap_seconds
//	DCGM_FI_DEV_XID_ERRORS | XID_ERROR                               230   xid_error
//	DCGM_FI_DEV_ECC_SBE_VOL_TOTAL, _DBE_VOL_TOTAL               310, 311   ecc_corrected_errors, ecc_uncorrected_errors
//	DCGM_FI_DEV_NVLINK_COUNT_TX_BYTES, _RX_BYTES | NVLINK_TX_BYTES_TOTAL, _RX_    1201, 1203   nvlink_sent_bytes, nvlink_received_bytes
//	DCGM_FI_PROF_GR_ENGINE_ACTIVE | GR_ENGINE_UTIL_RATIO            1001   graphics_activity
//	DCGM_FI_PROF_SM_ACTIVE | SM_UTIL_RATIO                          1002   sm_activity
//	DCGM_FI_PROF_SM_OCCUPANCY | SM_OCCUPANCY_RATIO                  1003   sm_occupancy
//	DCGM_FI_PROF_PIPE_TENSOR_ACTIVE | TENSOR_UTIL_RATIO             1004   tensor_activity
//	DCGM_FI_PROF_DRAM_ACTIVE | DRAM_UTIL_RATIO                      1005   dram_activity
//	DCGM_FI_DEV_CPU_POWER_UTIL_CURRENT | CPU_POWER_WATTS            1130   power_watts of scope cpu_rail
//	DCGM_FI_DEV_SYSIO_POWER_UTIL_CURRENT                            1132   power_watts of scope io_rail
//	DCGM_FI_DEV_MODULE_POWER_UTIL_CURRENT                           1133   power_watts of scope module
//
// Field 155 is nvmlDeviceGetPowerUsage: whether it is an average follows driver
// and architecture, which is for the reader of a recording to say. So it is in
// power_watts alone. Field 240 is the counter of NVML's power policy, as NVML's
// field 74 is, and in nanoseconds, whatever the exporter's help says. The counters
// of NVLink hold all bytes of the links, where NVML's have the payload.
//
// Left out is what means something else: THERMAL_VIOLATION (241) does not tell
// software from hardware; PROF_PCIE_*, PROF_NVLINK_* and PCIE_*_THROUGHPUT are
// rates, and NVLINK_BANDWIDTH_TOTAL counts no bytes; 1131 is the limit of the CPU's
// envelope, of which the rails are a part. The CPU rail, 1130, is about half of
// what a Grace CPU draws.
//
// # Devices
//
// A GPU is known by its UUID, as through NVML, so that one that is recorded both
// ways is one. The sensors of a Grace module are devices of its socket, which
// Device.Module names "HOST:socketN". Of a partitioned board (MIG) each instance's
// series repeats the board's power, energy, clocks and temperatures: the board is
// one device, with these alone, and what an instance uses of it is left out.
//
// # Time
//
// An exporter shows what it read last, every 30 s unless told otherwise
// (--collect-interval), and does not say when that was. A page whose power and
// energy repeat the page before is no reading and gives no rows, so that the time
// between rows is the exporter's. A page that differs was made between the start
// of the fetch before and the end of this one: that is what its rows' Time and Took
// say, a scrape interval, or more after fetches that failed. (Exporters that keep what
// they read from DCGM, which has a timer of its own, show values that are older by up to
// their interval; nothing on the page tells.) The first page
// says which devices there are, and gives no rows: nobody knows how old it is.
// Hosts, and on a host GPUs and CPUs, are looked at apart, since they are read apart.
//
// A fetch that failed is a row without values for every device, with power_watts
// as HTTP_503, TIMEOUT or the like in its status; so is, as ABSENT, a device that
// is no longer on the page.
package dcgm
