/*
 * A stand-in for libnvidia-ml.so.1 that serves the sensors of simulated
 * devices, so that the code that reads real ones can run without one.
 *
 *     gcc -shared -fPIC -O2 -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 nvml.c
 *
 * It reads the state that a simulator publishes in the file that the variable
 * WATTRACE_NVML_STATE names, afresh at every nvmlInit. The layout is documented
 * here and, the same, in sample/sim/nvmlstate.go. All numbers are
 * little-endian.
 *
 *     header, 128 bytes
 *       0  char[8]   magic "WTNVML2\0"
 *       8  u32       devices
 *      12  u32       bytes of the header, 128
 *      16  u32       bytes of a device record, 2048
 *      20  u32       generation: raised when the driver is loaded anew, which
 *                    leaves nothing of what was before valid
 *      24  u64       CLOCK_MONOTONIC of the publisher's latest sign of life, in
 *                    nanoseconds; 0: nobody publishes
 *      32  char[32]  driver version
 *      64  char[32]  NVML version
 *      96  u32       code that nvmlInit returns instead of succeeding
 *     device record, 2048 bytes
 *       0  char[96]  name
 *      96  char[96]  UUID
 *     192  char[32]  PCI bus id
 *     224  u32       architecture, as NVML numbers them; 0 is unknown
 *     228  i32       MIG mode: -1 not supported, 0 off, 1 on
 *     232  u32       processes that use MPS
 *     256  u64       sequence number: odd while the values are being changed
 *     264  u64[12]   values, see enum value
 *     512  u64       which of the further values the device has, a bit each; it
 *                    supports no others
 *     520  u64[32]   further values, see enum further
 *    1024  u32[64]   code that a call returns instead of succeeding, see
 *                    enum call; 0: it succeeds
 *    1280  u64[64]   nanoseconds that a call takes longer, likewise
 *    1792  u64       events so far
 *    1800  u64[8]    XIDs of the latest: of event k, from 0, at k modulo 8
 *
 * A board in MIG mode has one instance, whose UUID is the board's with MIG- for
 * GPU-.
 *
 * A publisher without a sign of life for 5 s is dead: its devices are lost.
 *
 * With -DOLD_DRIVER the library has only what a driver of 2016 had, and not
 * even nvmlErrorString: a program that calls a function that is not there ends
 * at once.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	SUCCESS = 0,
	UNINITIALIZED = 1,
	INVALID_ARGUMENT = 2,
	NOT_SUPPORTED = 3,
	NOT_FOUND = 6,
	INSUFFICIENT_SIZE = 7,
	DRIVER_NOT_LOADED = 9,
	TIMEOUT = 10,
	GPU_IS_LOST = 15,
	LIB_RM_VERSION_MISMATCH = 18,
	NO_DATA = 20,
};

enum value {
	ENERGY_MILLIJOULES,
	INSTANT_MILLIWATTS,
	AVERAGE_MILLIWATTS, /* 0: the device has no such field */
	LIMIT_MILLIWATTS,
	GPU_PERCENT,
	MEMORY_PERCENT,
	MEMORY_USED_BYTES,
	MEMORY_TOTAL_BYTES,
	TEMPERATURE_CELSIUS,
	SM_MEGAHERTZ,
	MEMORY_MEGAHERTZ,
	EVENT_REASONS,
	VALUES,
};

/* What not every device has. */
enum further {
	MEMORY_MILLIWATTS, /* average power of scope memory */
	MODULE_INSTANT_MILLIWATTS,
	MODULE_AVERAGE_MILLIWATTS,
	MODULE_LIMIT_MILLIWATTS,
	MODULE_MILLIJOULES,
	MEMORY_CELSIUS,
	POWER_CAP_NANOS,
	SOFTWARE_THERMAL_NANOS,
	HARDWARE_THERMAL_NANOS,
	POWER_BRAKE_NANOS,
	PCIE_SENT_BYTES,
	PCIE_RECEIVED_BYTES,
	NVLINK_SENT_KIBIBYTES,
	NVLINK_RECEIVED_KIBIBYTES,
	ECC_CORRECTED,
	ECC_UNCORRECTED,
	GRAPHICS_PERMILLE, /* GPM: those who have one have all */
	SM_PERMILLE,
	OCCUPANCY_PERMILLE,
	TENSOR_PERMILLE,
	DRAM_PERMILLE,
	SMOOTHING_ENABLED,
	SMOOTHING_PRIVILEGE,
	SMOOTHING_PROFILE,
	WORKLOAD_PROFILES, /* a bit each */
	APPLICATION_SM_MEGAHERTZ,
	APPLICATION_MEMORY_MEGAHERTZ,
	DEFAULT_SM_MEGAHERTZ,
	DEFAULT_MEMORY_MEGAHERTZ,
	MAX_SM_MEGAHERTZ,
	MAX_MEMORY_MEGAHERTZ,
	FURTHER,
	FURTHER_SLOTS = 32,
};

enum call {
	CALL_HANDLE,
	CALL_NAME,
	CALL_UUID,
	CALL_PCI,
	CALL_ARCHITECTURE,
	CALL_MIG,
	CALL_FIELDS, /* the whole of nvmlDeviceGetFieldValues */
	FIELD_ENERGY,
	FIELD_INSTANT,
	FIELD_AVERAGE,
	FIELD_LIMIT,
	CALL_POWER,
	CALL_ENERGY,
	CALL_LIMIT,
	CALL_UTILIZATION,
	CALL_MEMORY,
	CALL_TEMPERATURE,
	CALL_CLOCK,
	CALL_REASONS,
	CALL_MPS,
	CALL_GPM_SUPPORT,
	CALL_GPM_SAMPLE,
	CALL_GPM_METRICS,
	CALL_PROFILES,
	CALL_EVENTS,
	CALL_FURTHER = 32, /* and what of enum further it is: that field */
	CALLS = 64,
};

enum { XIDS = 8 };

struct header {
	char magic[8];
	uint32_t devices, header_bytes, device_bytes, generation;
	uint64_t heartbeat_nanos;
	char driver[32], nvml[32];
	uint32_t init;
	char rest[28];
};

struct device {
	char name[96], uuid[96], pci[32];
	uint32_t architecture;
	int32_t mig;
	uint32_t mps;
	char unused1[20];
	uint64_t sequence;
	uint64_t values[VALUES];
	char unused2[512 - 264 - 8 * VALUES];
	uint64_t have;
	uint64_t further[FURTHER_SLOTS];
	char unused3[1024 - 520 - 8 * FURTHER_SLOTS];
	uint32_t fault[CALLS];
	uint64_t delay_nanos[CALLS];
	uint64_t events;
	uint64_t xids[XIDS];
	char unused4[2048 - 1800 - 8 * XIDS];
};

_Static_assert(sizeof(struct header) == 128, "header");
_Static_assert(__builtin_offsetof(struct header, generation) == 20, "generation");
_Static_assert(__builtin_offsetof(struct header, heartbeat_nanos) == 24, "heartbeat");
_Static_assert(__builtin_offsetof(struct header, init) == 96, "init");
_Static_assert(sizeof(struct device) == 2048, "device record");
_Static_assert(__builtin_offsetof(struct device, mps) == 232, "MPS");
_Static_assert(__builtin_offsetof(struct device, sequence) == 256, "sequence");
_Static_assert(__builtin_offsetof(struct device, values) == 264, "values");
_Static_assert(__builtin_offsetof(struct device, have) == 512, "have");
_Static_assert(__builtin_offsetof(struct device, further) == 520, "further");
_Static_assert(__builtin_offsetof(struct device, fault) == 1024, "fault");
_Static_assert(__builtin_offsetof(struct device, delay_nanos) == 1280, "delay");
_Static_assert(__builtin_offsetof(struct device, events) == 1792, "events");
_Static_assert(__builtin_offsetof(struct device, xids) == 1800, "XIDs");
_Static_assert(FURTHER <= FURTHER_SLOTS && CALL_FURTHER + FURTHER <= CALLS, "further values");

typedef int result;
typedef const struct device *handle;

static const struct header *state;
static uint32_t generation; /* of the driver that nvmlInit found */

static uint64_t nanos(clockid_t clock)
{
	struct timespec ts;
	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void wait_nanos(uint64_t n)
{
	struct timespec ts = {(time_t)(n / 1000000000u), (long)(n % 1000000000u)};
	if (n)
		nanosleep(&ts, NULL);
}

/* alive says whether the library is in use and has its driver. */
static result alive(void)
{
	if (!state || __atomic_load_n(&state->generation, __ATOMIC_ACQUIRE) != generation)
		return UNINITIALIZED;
	return SUCCESS;
}

/* check says how a call on a device ends. */
static result check(handle d, enum call call)
{
	result r = alive();
	if (r)
		return r;
	if (d < (handle)(state + 1) || d >= (handle)(state + 1) + state->devices)
		return INVALID_ARGUMENT; /* none, or from before the latest nvmlInit */
	wait_nanos(__atomic_load_n(&d->delay_nanos[call], __ATOMIC_ACQUIRE));
	uint64_t heartbeat = __atomic_load_n(&state->heartbeat_nanos, __ATOMIC_ACQUIRE);
	if (heartbeat == 0 || nanos(CLOCK_MONOTONIC) > heartbeat + 5000000000u)
		return GPU_IS_LOST;
	return (result)__atomic_load_n(&d->fault[call], __ATOMIC_ACQUIRE);
}

/* values copies the values of one instant. */
static void values(handle d, uint64_t out[VALUES])
{
	uint64_t before, after;
	do {
		before = __atomic_load_n(&d->sequence, __ATOMIC_ACQUIRE);
		for (int i = 0; i < VALUES; i++)
			out[i] = __atomic_load_n(&d->values[i], __ATOMIC_ACQUIRE);
		after = __atomic_load_n(&d->sequence, __ATOMIC_ACQUIRE);
	} while (before != after || (before & 1));
}

static result text(char *out, unsigned length, const char *s)
{
	if (strlen(s) >= length)
		return INSUFFICIENT_SIZE;
	strcpy(out, s);
	return SUCCESS;
}

result nvmlInit_v2(void)
{
	const char *path = getenv("WATTRACE_NVML_STATE");
	struct stat st;
	if (!path)
		return DRIVER_NOT_LOADED;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return DRIVER_NOT_LOADED;
	const struct header *h = MAP_FAILED;
	if (fstat(fd, &st) == 0 && (size_t)st.st_size >= sizeof *h)
		h = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (h == MAP_FAILED)
		return DRIVER_NOT_LOADED;
	if (memcmp(h->magic, "WTNVML2", 8) != 0 || h->header_bytes != sizeof *h ||
	    h->device_bytes != sizeof(struct device) ||
	    (uint64_t)st.st_size < sizeof *h + (uint64_t)h->devices * sizeof(struct device))
		return LIB_RM_VERSION_MISMATCH;
	uint32_t r = __atomic_load_n(&h->init, __ATOMIC_ACQUIRE);
	if (r)
		return (result)r;
	state = h; /* an earlier mapping stays: what has a handle may still look */
	generation = __atomic_load_n(&h->generation, __ATOMIC_ACQUIRE);
	return SUCCESS;
}

/* What nvidia-ml-py calls; there are no flags that matter here. */
result nvmlInitWithFlags(unsigned flags)
{
	(void)flags;
	return nvmlInit_v2();
}

result nvmlShutdown(void)
{
	if (!state)
		return UNINITIALIZED;
	state = NULL;
	return SUCCESS;
}

result nvmlSystemGetDriverVersion(char *out, unsigned length)
{
	return state ? text(out, length, state->driver) : UNINITIALIZED;
}

result nvmlSystemGetNVMLVersion(char *out, unsigned length)
{
	return state ? text(out, length, state->nvml) : UNINITIALIZED;
}

result nvmlDeviceGetCount_v2(unsigned *count)
{
	result r = alive();
	if (r == SUCCESS)
		*count = state->devices;
	return r;
}

result nvmlDeviceGetHandleByIndex_v2(unsigned index, handle *out)
{
	result r = alive();
	if (r)
		return r;
	if (index >= state->devices)
		return INVALID_ARGUMENT;
	handle d = (handle)(state + 1) + index;
	r = check(d, CALL_HANDLE);
	if (r == SUCCESS)
		*out = d;
	return r;
}

result nvmlDeviceGetHandleByUUID(const char *uuid, handle *out)
{
	result r = alive();
	for (unsigned i = 0; r == SUCCESS && i < state->devices; i++) {
		handle d = (handle)(state + 1) + i;
		int instance = d->mig > 0 && strncmp(uuid, "MIG-", 4) == 0 && strcmp(d->uuid + 4, uuid + 4) == 0;
		if (instance || strcmp(d->uuid, uuid) == 0)
			return nvmlDeviceGetHandleByIndex_v2(i, out);
	}
	return r ? r : NOT_FOUND;
}

result nvmlDeviceGetName(handle d, char *out, unsigned length)
{
	result r = check(d, CALL_NAME);
	return r ? r : text(out, length, d->name);
}

result nvmlDeviceGetUUID(handle d, char *out, unsigned length)
{
	result r = check(d, CALL_UUID);
	return r ? r : text(out, length, d->uuid);
}

struct pci {
	char legacy[16];
	unsigned domain, bus, device, id, subsystem;
	char bus_id[32];
};

static result pci(handle d, struct pci *out)
{
	result r = check(d, CALL_PCI);
	if (r)
		return r;
	memset(out, 0, sizeof *out);
	memcpy(out->bus_id, d->pci, sizeof out->bus_id - 1);
	sscanf(d->pci, "%x:%x:%x", &out->domain, &out->bus, &out->device);
	return SUCCESS;
}

result nvmlDeviceGetPowerUsage(handle d, unsigned *milliwatts)
{
	uint64_t v[VALUES];
	result r = check(d, CALL_POWER);
	if (r)
		return r;
	values(d, v);
	*milliwatts = (unsigned)(v[AVERAGE_MILLIWATTS] ? v[AVERAGE_MILLIWATTS] : v[INSTANT_MILLIWATTS]);
	return SUCCESS;
}

result nvmlDeviceGetTotalEnergyConsumption(handle d, unsigned long long *millijoules)
{
	uint64_t v[VALUES];
	result r = check(d, CALL_ENERGY);
	if (r)
		return r;
	values(d, v);
	*millijoules = v[ENERGY_MILLIJOULES];
	return SUCCESS;
}

result nvmlDeviceGetEnforcedPowerLimit(handle d, unsigned *milliwatts)
{
	uint64_t v[VALUES];
	result r = check(d, CALL_LIMIT);
	if (r)
		return r;
	values(d, v);
	*milliwatts = (unsigned)v[LIMIT_MILLIWATTS];
	return SUCCESS;
}

result nvmlDeviceGetUtilizationRates(handle d, unsigned out[2])
{
	uint64_t v[VALUES];
	result r = check(d, CALL_UTILIZATION);
	if (r)
		return r;
	values(d, v);
	out[0] = (unsigned)v[GPU_PERCENT];
	out[1] = (unsigned)v[MEMORY_PERCENT];
	return SUCCESS;
}

result nvmlDeviceGetMemoryInfo(handle d, unsigned long long out[3])
{
	uint64_t v[VALUES];
	result r = check(d, CALL_MEMORY);
	if (r)
		return r;
	values(d, v);
	out[0] = v[MEMORY_TOTAL_BYTES];
	out[1] = v[MEMORY_TOTAL_BYTES] - v[MEMORY_USED_BYTES];
	out[2] = v[MEMORY_USED_BYTES];
	return SUCCESS;
}

result nvmlDeviceGetTemperature(handle d, int sensor, unsigned *celsius)
{
	uint64_t v[VALUES];
	result r = check(d, CALL_TEMPERATURE);
	if (r)
		return r;
	if (sensor != 0)
		return INVALID_ARGUMENT;
	values(d, v);
	*celsius = (unsigned)v[TEMPERATURE_CELSIUS];
	return SUCCESS;
}

result nvmlDeviceGetClockInfo(handle d, int type, unsigned *megahertz)
{
	uint64_t v[VALUES];
	result r = check(d, CALL_CLOCK);
	if (r)
		return r;
	values(d, v);
	switch (type) {
	case 1:
		*megahertz = (unsigned)v[SM_MEGAHERTZ];
		return SUCCESS;
	case 2:
		*megahertz = (unsigned)v[MEMORY_MEGAHERTZ];
		return SUCCESS;
	}
	return NOT_SUPPORTED;
}

static result reasons(handle d, unsigned long long *out)
{
	uint64_t v[VALUES];
	result r = check(d, CALL_REASONS);
	if (r)
		return r;
	values(d, v);
	*out = v[EVENT_REASONS];
	return SUCCESS;
}

#ifdef OLD_DRIVER

result nvmlDeviceGetPciInfo_v2(handle d, struct pci *out) { return pci(d, out); }

result nvmlDeviceGetCurrentClocksThrottleReasons(handle d, unsigned long long *out) { return reasons(d, out); }

#else

result nvmlDeviceGetPciInfo_v3(handle d, struct pci *out) { return pci(d, out); }

result nvmlDeviceGetCurrentClocksEventReasons(handle d, unsigned long long *out) { return reasons(d, out); }

const char *nvmlErrorString(result r)
{
	static char s[32];
	snprintf(s, sizeof s, "simulated error %d", r);
	return s;
}

result nvmlDeviceGetArchitecture(handle d, unsigned *out)
{
	result r = check(d, CALL_ARCHITECTURE);
	if (r)
		return r;
	*out = d->architecture ? d->architecture : 0xffffffffu;
	return SUCCESS;
}

result nvmlDeviceGetMigMode(handle d, unsigned *current, unsigned *pending)
{
	result r = check(d, CALL_MIG);
	if (r)
		return r;
	if (d->mig < 0)
		return NOT_SUPPORTED;
	*current = *pending = (unsigned)d->mig;
	return SUCCESS;
}

result nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle instance, handle *board)
{
	result r = check(instance, CALL_MIG);
	if (r == SUCCESS)
		*board = instance;
	return r;
}

struct field {
	unsigned id, scope;
	long long timestamp_micros, latency_micros;
	unsigned type, result;
	union {
		unsigned u32;
		unsigned long long u64;
	} value;
};

static int has(handle d, enum further v)
{
	return __atomic_load_n(&d->have, __ATOMIC_ACQUIRE) >> v & 1;
}

static uint64_t get(handle d, enum further v) { return __atomic_load_n(&d->further[v], __ATOMIC_ACQUIRE); }

enum { U32 = 1, U64 = 3 };

/* The fields of which every device has a value, and those of which not. */
static const struct {
	unsigned id, scope, type;
	enum call call;
	enum value value;
} common_fields[] = {
	{83, 0, U64, FIELD_ENERGY, ENERGY_MILLIJOULES},
	{83, 1, U64, FIELD_ENERGY, ENERGY_MILLIJOULES}, /* the GPU's own, whatever the scope */
	{83, 2, U64, FIELD_ENERGY, ENERGY_MILLIJOULES},
	{185, 0, U32, FIELD_AVERAGE, AVERAGE_MILLIWATTS},
	{186, 0, U32, FIELD_INSTANT, INSTANT_MILLIWATTS},
	{190, 0, U32, FIELD_LIMIT, LIMIT_MILLIWATTS},
};

static const struct {
	unsigned id, scope, type;
	enum further value;
} further_fields[] = {
	{185, 2, U32, MEMORY_MILLIWATTS},
	{186, 1, U32, MODULE_INSTANT_MILLIWATTS},
	{185, 1, U32, MODULE_AVERAGE_MILLIWATTS},
	{190, 1, U32, MODULE_LIMIT_MILLIWATTS},
	{191, 1, U64, MODULE_MILLIJOULES},
	{82, 0, U32, MEMORY_CELSIUS},
	{74, 0, U64, POWER_CAP_NANOS},
	{269, 0, U64, SOFTWARE_THERMAL_NANOS},
	{270, 0, U64, HARDWARE_THERMAL_NANOS},
	{271, 0, U64, POWER_BRAKE_NANOS},
	{197, 0, U32, PCIE_SENT_BYTES},
	{198, 0, U32, PCIE_RECEIVED_BYTES},
	{138, 0xffffffffu, U64, NVLINK_SENT_KIBIBYTES},
	{139, 0xffffffffu, U64, NVLINK_RECEIVED_KIBIBYTES},
	{3, 0, U64, ECC_CORRECTED},
	{4, 0, U64, ECC_UNCORRECTED},
	{251, 0, U32, SMOOTHING_ENABLED},
	{252, 0, U32, SMOOTHING_PRIVILEGE},
	{264, 0, U32, SMOOTHING_PROFILE},
};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static void put(handle d, struct field *f, enum call call, unsigned type, uint64_t value, int have)
{
	f->timestamp_micros = (long long)(nanos(CLOCK_REALTIME) / 1000);
	f->latency_micros = 1;
	/* What is not valid is not defined: garbage, as a real library may leave. */
	f->value.u64 = 0xdeadbeefdeadbeefu;
	f->type = type;
	wait_nanos(__atomic_load_n(&d->delay_nanos[call], __ATOMIC_ACQUIRE));
	f->result = __atomic_load_n(&d->fault[call], __ATOMIC_ACQUIRE);
	if (f->result == SUCCESS && !have)
		f->result = NOT_SUPPORTED;
	if (f->result != SUCCESS)
		return;
	if (type == U64)
		f->value.u64 = value;
	else
		f->value.u32 = (unsigned)value; /* the upper half stays garbage */
}

static void field(handle d, struct field *f, const uint64_t v[VALUES])
{
	for (unsigned i = 0; i < COUNT(common_fields); i++)
		if (common_fields[i].id == f->id && common_fields[i].scope == f->scope) {
			enum value value = common_fields[i].value;
			put(d, f, common_fields[i].call, common_fields[i].type, v[value], value != AVERAGE_MILLIWATTS || v[value] != 0);
			return;
		}
	for (unsigned i = 0; i < COUNT(further_fields); i++)
		if (further_fields[i].id == f->id && further_fields[i].scope == f->scope) {
			enum further value = further_fields[i].value;
			put(d, f, CALL_FURTHER + value, further_fields[i].type, get(d, value), has(d, value));
			return;
		}
	f->result = NOT_SUPPORTED;
}

result nvmlDeviceGetFieldValues(handle d, int count, struct field *fields)
{
	uint64_t v[VALUES];
	result r = check(d, CALL_FIELDS);
	if (r)
		return r;
	values(d, v);
	for (int i = 0; i < count; i++)
		field(d, &fields[i], v);
	return SUCCESS;
}

struct process {
	unsigned pid;
	unsigned long long memory;
	unsigned gpu_instance, compute_instance;
};

result nvmlDeviceGetMPSComputeRunningProcesses_v3(handle d, unsigned *count, struct process *out)
{
	result r = check(d, CALL_MPS);
	if (r)
		return r;
	unsigned room = *count;
	*count = __atomic_load_n(&d->mps, __ATOMIC_ACQUIRE);
	if (*count > room)
		return INSUFFICIENT_SIZE;
	for (unsigned i = 0; i < *count; i++)
		out[i] = (struct process){1000 + i, 0, 0xffffffffu, 0xffffffffu};
	return SUCCESS;
}

/* GPM: a sample is what the shares are when it is taken. */

struct sample {
	handle device;
	uint64_t at;
	double percent[5];
};

struct gpm_support {
	unsigned version, supported;
};

result nvmlGpmQueryDeviceSupport(handle d, struct gpm_support *out)
{
	result r = check(d, CALL_GPM_SUPPORT);
	if (r == SUCCESS)
		out->supported = has(d, GRAPHICS_PERMILLE);
	return r;
}

result nvmlGpmSampleAlloc(struct sample **out)
{
	*out = calloc(1, sizeof **out);
	return SUCCESS;
}

result nvmlGpmSampleFree(struct sample *s)
{
	free(s);
	return SUCCESS;
}

result nvmlGpmSampleGet(handle d, struct sample *s)
{
	result r = check(d, CALL_GPM_SAMPLE);
	if (r)
		return r;
	if (!has(d, GRAPHICS_PERMILLE))
		return NOT_SUPPORTED;
	s->device = d;
	s->at = nanos(CLOCK_MONOTONIC);
	for (int i = 0; i < 5; i++)
		s->percent[i] = (double)get(d, GRAPHICS_PERMILLE + i) / 10;
	return SUCCESS;
}

struct gpm {
	unsigned version, count;
	struct sample *from, *to;
	struct {
		unsigned id;
		result result;
		double value;
		char *names[3];
	} metrics[];
};

result nvmlGpmMetricsGet(struct gpm *g)
{
	static const unsigned ids[] = {1, 2, 3, 5, 10};
	if (g->version != 1)
		return INVALID_ARGUMENT;
	if (!g->from->device || g->from->device != g->to->device || g->from->at >= g->to->at)
		return NO_DATA;
	result r = check(g->to->device, CALL_GPM_METRICS);
	if (r)
		return r;
	for (unsigned k = 0; k < g->count; k++) {
		g->metrics[k].result = NOT_SUPPORTED;
		g->metrics[k].value = -1;
		for (unsigned i = 0; i < COUNT(ids); i++) {
			if (ids[i] != g->metrics[k].id)
				continue;
			r = (result)__atomic_load_n(&g->to->device->fault[CALL_FURTHER + GRAPHICS_PERMILLE + i], __ATOMIC_ACQUIRE);
			g->metrics[k].result = r;
			if (r == SUCCESS) /* the mean of the time between, so to say */
				g->metrics[k].value = (g->from->percent[i] + g->to->percent[i]) / 2;
		}
	}
	return SUCCESS;
}

/* setting answers with a setting of a clock: of the SMs, or the one after it of memory. */
static result setting(handle d, int type, enum further sm, unsigned *megahertz)
{
	if (type != 1 && type != 2)
		return INVALID_ARGUMENT;
	enum further value = sm + (type == 2);
	result r = check(d, CALL_FURTHER + value);
	if (r)
		return r;
	if (!has(d, value))
		return NOT_SUPPORTED;
	*megahertz = (unsigned)get(d, value);
	return SUCCESS;
}

result nvmlDeviceGetApplicationsClock(handle d, int type, unsigned *megahertz)
{
	return setting(d, type, APPLICATION_SM_MEGAHERTZ, megahertz);
}

result nvmlDeviceGetDefaultApplicationsClock(handle d, int type, unsigned *megahertz)
{
	return setting(d, type, DEFAULT_SM_MEGAHERTZ, megahertz);
}

result nvmlDeviceGetMaxClockInfo(handle d, int type, unsigned *megahertz)
{
	return setting(d, type, MAX_SM_MEGAHERTZ, megahertz);
}

struct profiles {
	unsigned version, supported[8], requested[8], enforced[8];
};

result nvmlDeviceWorkloadPowerProfileGetCurrentProfiles(handle d, struct profiles *out)
{
	result r = check(d, CALL_PROFILES);
	if (r)
		return r;
	if (!has(d, WORKLOAD_PROFILES))
		return NOT_SUPPORTED;
	memset(out->supported, 0xff, sizeof out->supported);
	memset(out->requested, 0, sizeof out->requested);
	memset(out->enforced, 0, sizeof out->enforced);
	out->enforced[0] = (unsigned)get(d, WORKLOAD_PROFILES);
	out->enforced[1] = (unsigned)(get(d, WORKLOAD_PROFILES) >> 32);
	return SUCCESS;
}

/* Events: a set knows how many of each device it has delivered. */

struct set {
	uint32_t generation;
	unsigned count;
	struct {
		handle device;
		uint64_t seen;
	} members[64];
};

struct event {
	handle device;
	unsigned long long type, data;
	unsigned gpu_instance, compute_instance;
};

enum { XID_CRITICAL_ERROR = 8 };

result nvmlDeviceGetSupportedEventTypes(handle d, unsigned long long *types)
{
	result r = check(d, CALL_EVENTS);
	*types = 0x1f;
	return r;
}

result nvmlEventSetCreate(struct set **out)
{
	result r = alive();
	if (r)
		return r;
	*out = calloc(1, sizeof **out);
	(*out)->generation = generation;
	return SUCCESS;
}

result nvmlEventSetFree(struct set *s)
{
	result r = alive();
	if (r)
		return r;
	free(s);
	return SUCCESS;
}

result nvmlDeviceRegisterEvents(handle d, unsigned long long types, struct set *s)
{
	result r = check(d, CALL_EVENTS);
	if (r)
		return r;
	if (types != XID_CRITICAL_ERROR || s->count == COUNT(s->members))
		return INVALID_ARGUMENT;
	s->members[s->count].device = d;
	s->members[s->count].seen = __atomic_load_n(&d->events, __ATOMIC_ACQUIRE);
	s->count++;
	return SUCCESS;
}

result nvmlEventSetWait_v2(struct set *s, struct event *out, unsigned timeout_millis)
{
	uint64_t until = nanos(CLOCK_MONOTONIC) + timeout_millis * 1000000ull;
	do {
		result r = alive();
		if (r)
			return r;
		if (s->generation != generation)
			return INVALID_ARGUMENT;
		for (unsigned i = 0; i < s->count; i++) {
			handle d = s->members[i].device;
			if (__atomic_load_n(&d->events, __ATOMIC_ACQUIRE) == s->members[i].seen)
				continue;
			uint64_t xid = __atomic_load_n(&d->xids[s->members[i].seen++ % XIDS], __ATOMIC_ACQUIRE);
			*out = (struct event){d, XID_CRITICAL_ERROR, xid, 0xffffffffu, 0xffffffffu};
			return SUCCESS;
		}
		wait_nanos(20000000); /* rare enough not to be the cost of who waits */
	} while (nanos(CLOCK_MONOTONIC) < until);
	return TIMEOUT;
}

#endif
