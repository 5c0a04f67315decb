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
 *       0  char[8]   magic "WTNVML1\0"
 *       8  u32       devices
 *      12  u32       bytes of the header, 128
 *      16  u32       bytes of a device record, 1024
 *      24  u64       CLOCK_MONOTONIC of the publisher's latest sign of life, in
 *                    nanoseconds; 0: nobody publishes
 *      32  char[32]  driver version
 *      64  char[32]  NVML version
 *     device record, 1024 bytes
 *       0  char[96]  name
 *      96  char[96]  UUID
 *     192  char[32]  PCI bus id
 *     224  u32       architecture, as NVML numbers them; 0 is unknown
 *     228  i32       MIG mode: -1 not supported, 0 off, 1 on
 *     256  u64       sequence number: odd while the values are being changed
 *     264  u64[12]   values, see enum value
 *     512  u32[32]   code that a call returns instead of succeeding, see enum
 *                    call; 0: it succeeds
 *     640  u64       nanoseconds that nvmlDeviceGetFieldValues takes longer
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
	INSUFFICIENT_SIZE = 7,
	DRIVER_NOT_LOADED = 9,
	GPU_IS_LOST = 15,
	LIB_RM_VERSION_MISMATCH = 18,
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
	CALLS = 32,
};

struct header {
	char magic[8];
	uint32_t devices, header_bytes, device_bytes, unused;
	uint64_t heartbeat_nanos;
	char driver[32], nvml[32], rest[32];
};

struct device {
	char name[96], uuid[96], pci[32];
	uint32_t architecture;
	int32_t mig;
	char unused1[24];
	uint64_t sequence;
	uint64_t values[VALUES];
	char unused2[512 - 264 - 8 * VALUES];
	uint32_t fault[CALLS];
	uint64_t delay_nanos;
	char unused3[1024 - 648];
};

_Static_assert(sizeof(struct header) == 128, "header");
_Static_assert(sizeof(struct device) == 1024, "device record");
_Static_assert(__builtin_offsetof(struct device, sequence) == 256, "sequence");
_Static_assert(__builtin_offsetof(struct device, fault) == 512, "fault");
_Static_assert(__builtin_offsetof(struct device, delay_nanos) == 640, "delay");

typedef int result;
typedef const struct device *handle;

static const struct header *state;

static uint64_t nanos(clockid_t clock)
{
	struct timespec ts;
	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* check says how a call on a device ends. */
static result check(handle d, enum call call)
{
	if (!state)
		return UNINITIALIZED;
	if (!d)
		return INVALID_ARGUMENT;
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
	if (memcmp(h->magic, "WTNVML1", 8) != 0 || h->header_bytes != sizeof *h ||
	    h->device_bytes != sizeof(struct device) ||
	    (uint64_t)st.st_size < sizeof *h + (uint64_t)h->devices * sizeof(struct device))
		return LIB_RM_VERSION_MISMATCH;
	state = h; /* an earlier mapping stays: handles point into it */
	return SUCCESS;
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
	if (!state)
		return UNINITIALIZED;
	*count = state->devices;
	return SUCCESS;
}

result nvmlDeviceGetHandleByIndex_v2(unsigned index, handle *out)
{
	if (!state)
		return UNINITIALIZED;
	if (index >= state->devices)
		return INVALID_ARGUMENT;
	handle d = (handle)(state + 1) + index;
	result r = check(d, CALL_HANDLE);
	if (r == SUCCESS)
		*out = d;
	return r;
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

struct field {
	unsigned id, scope;
	long long timestamp_micros, latency_micros;
	unsigned type, result;
	union {
		unsigned u32;
		unsigned long long u64;
	} value;
};

static void field(handle d, struct field *f, const uint64_t v[VALUES])
{
	enum { U32 = 1, U64 = 3 };
	enum call call;
	enum value value;
	switch (f->id) {
	case 83:
		call = FIELD_ENERGY, value = ENERGY_MILLIJOULES;
		break;
	case 185:
		call = FIELD_AVERAGE, value = AVERAGE_MILLIWATTS;
		break;
	case 186:
		call = FIELD_INSTANT, value = INSTANT_MILLIWATTS;
		break;
	case 190:
		call = FIELD_LIMIT, value = LIMIT_MILLIWATTS;
		break;
	default:
		f->result = NOT_SUPPORTED;
		return;
	}
	f->timestamp_micros = (long long)(nanos(CLOCK_REALTIME) / 1000);
	f->latency_micros = 1;
	/* What is not valid is not defined: garbage, as a real library may leave. */
	f->value.u64 = 0xdeadbeefdeadbeefu;
	f->type = value == ENERGY_MILLIJOULES ? U64 : U32;
	f->result = __atomic_load_n(&d->fault[call], __ATOMIC_ACQUIRE);
	if (f->result == SUCCESS && value == AVERAGE_MILLIWATTS && v[value] == 0)
		f->result = NOT_SUPPORTED;
	if (f->result != SUCCESS)
		return;
	if (f->type == U64)
		f->value.u64 = v[value];
	else
		f->value.u32 = (unsigned)v[value]; /* the upper half stays garbage */
}

result nvmlDeviceGetFieldValues(handle d, int count, struct field *fields)
{
	uint64_t v[VALUES];
	result r = check(d, CALL_FIELDS);
	if (r)
		return r;
	uint64_t delay = __atomic_load_n(&d->delay_nanos, __ATOMIC_ACQUIRE);
	if (delay) {
		struct timespec ts = {(time_t)(delay / 1000000000u), (long)(delay % 1000000000u)};
		nanosleep(&ts, NULL);
	}
	values(d, v);
	for (int i = 0; i < count; i++)
		field(d, &fields[i], v);
	return SUCCESS;
}

#endif
