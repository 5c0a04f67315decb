#!/usr/bin/env python3
"""What NVML says of one GPU, asked without wattrace.

    survey.py fields > fields.json        every field id, scope, code, call time
    survey.py poll SECONDS > poll.csv     power and energy as fast as one thread can ask
    survey.py ring SECONDS > ring.csv     the driver's own buffer of power samples

poll: mono_before,mono_after (ns, CLOCK_MONOTONIC), then for each of fields
185 (average, mW), 186 (instant, mW), 83 (energy, mJ): code, value, latency in
us; and nvmlDeviceGetPowerUsage (mW). ring: of nvmlDeviceGetSamples(TOTAL_POWER),
asked twice a second: the time of the answer (CLOCK_MONOTONIC and wall, ns), the
sample's own stamp (us, wall), its value (mW). Needs nvidia-ml-py.
"""
import json
import sys
import time

import pynvml as n

n.nvmlInit()
h = n.nvmlDeviceGetHandleByIndex(0)


def text(v):
    return v.decode() if isinstance(v, bytes) else v


def ask(f, *a):
    t = time.monotonic_ns()
    try:
        v = f(*a)
        v = text(v)
        if hasattr(v, "_fields_"):
            v = {k[0]: getattr(v, k[0]) for k in v._fields_}
            v = {k: (x if isinstance(x, (int, float)) else str(x)) for k, x in v.items()}
        elif not isinstance(v, (int, float, str, list)):
            v = str(v)
        r = {"value": v}
    except Exception as e:  # whatever it says is what is wanted
        r = {"error": str(e)}
    r["nanos"] = time.monotonic_ns() - t
    return r


def fields():
    out = {"calls": {}, "fields": []}
    for name in """nvmlSystemGetDriverVersion nvmlSystemGetNVMLVersion nvmlSystemGetCudaDriverVersion""".split():
        out["calls"][name] = ask(getattr(n, name))
    for name in """Name UUID Serial BoardPartNumber VbiosVersion Architecture CudaComputeCapability Brand BoardId
        PciInfo_v3 PersistenceMode MigMode EccMode ComputeMode VirtualizationMode PowerState PowerUsage
        PowerManagementLimit PowerManagementDefaultLimit PowerManagementLimitConstraints EnforcedPowerLimit
        TotalEnergyConsumption UtilizationRates MemoryInfo MemoryInfo_v2 CurrentClocksEventReasons
        SupportedClocksEventReasons CurrentClocksThrottleReasons NumGpuCores MemoryBusWidth
        ModuleId GpuFabricInfo C2cModeInfoV PowerSource NumaNodeId""".split():
        f = getattr(n, "nvmlDeviceGet" + name, None)
        out["calls"][name] = ask(f, h) if f else {"error": "no such function"}
    for name, args in {"Temperature": (0,), "TemperatureThreshold": (0,), "ClockInfo": (1,), "MaxClockInfo": (1,),
                       "ApplicationsClock": (1,), "PcieThroughput": (0,)}.items():
        out["calls"][name] = ask(getattr(n, "nvmlDeviceGet" + name), h, *args)
    for kind in range(0, 10):
        t = time.monotonic_ns()
        try:
            typ, samples = n.nvmlDeviceGetSamples(h, kind, 0)
            r = {"type": typ, "count": len(samples), "samples": [
                [s.timeStamp, getattr(s.sampleValue, "uiVal", None)] for s in samples]}
        except Exception as e:
            r = {"error": str(e)}
        r["nanos"] = time.monotonic_ns() - t
        out["calls"]["Samples%d" % kind] = r
    for scope in range(4):
        for i in range(1, 320):
            t = time.monotonic_ns()
            try:
                v = n.nvmlDeviceGetFieldValues(h, [(i, scope)])[0]
            except Exception as e:
                out["fields"].append({"id": i, "scope": scope, "error": str(e)})
                continue
            d = time.monotonic_ns() - t
            if v.nvmlReturn == 0 or (scope == 0 and v.nvmlReturn != 3 and v.nvmlReturn != 2):
                out["fields"].append({"id": i, "scope": scope, "code": v.nvmlReturn, "type": v.valueType,
                                      "value": v.value.ullVal if v.nvmlReturn == 0 else None, "latency_us": v.latencyUsec,
                                      "timestamp": v.timestamp, "nanos": d})
    gpm = {}
    try:
        gpm["support"] = str(n.nvmlGpmQueryDeviceSupport(h).isSupportedDevice)
        s1, s2 = n.nvmlGpmSampleAlloc(), n.nvmlGpmSampleAlloc()
        n.nvmlGpmSampleGet(h, s1)
        time.sleep(0.2)
        t = time.monotonic_ns()
        n.nvmlGpmSampleGet(h, s2)
        gpm["sample_nanos"] = time.monotonic_ns() - t
        m = n.c_nvmlGpmMetricsGet_t()
        m.version, m.sample1, m.sample2 = 1, s1, s2
        ids = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 20, 21, 60, 61]
        m.numMetrics = len(ids)
        for k, i in enumerate(ids):
            m.metrics[k].metricId = i
        n.nvmlGpmMetricsGet(m)
        gpm["metrics"] = [[m.metrics[k].metricId, m.metrics[k].nvmlReturn, m.metrics[k].value] for k in range(len(ids))]
    except Exception as e:
        gpm["error"] = str(e)
    out["gpm"] = gpm
    json.dump(out, sys.stdout, indent=1, default=str)
    print()


def poll(seconds):
    print("mono_before,mono_after,avg_code,avg_mw,avg_us,inst_code,inst_mw,inst_us,energy_code,energy_mj,energy_us,usage_mw")
    end = time.monotonic() + seconds
    rows = []
    ids = [185, 186, 83]
    while time.monotonic() < end:
        t0 = time.monotonic_ns()
        v = n.nvmlDeviceGetFieldValues(h, ids)
        t1 = time.monotonic_ns()
        try:
            u = n.nvmlDeviceGetPowerUsage(h)
        except Exception as e:
            u = -1
        rows.append((t0, t1, v, u))
        time.sleep(0.001)
    for t0, t1, v, u in rows:
        print(t0, t1, v[0].nvmlReturn, v[0].value.uiVal, v[0].latencyUsec, v[1].nvmlReturn, v[1].value.uiVal, v[1].latencyUsec,
              v[2].nvmlReturn, v[2].value.ullVal, v[2].latencyUsec, u, sep=",")


def ring(seconds):
    print("mono_nanos,wall_nanos,stamp_micros,milliwatts")
    end, last, rows = time.monotonic() + seconds, 0, []
    while time.monotonic() < end:
        try:
            _, samples = n.nvmlDeviceGetSamples(h, 0, last)
        except n.NVMLError_NotFound:
            samples = []
        rows.append((time.monotonic_ns(), time.time_ns(), samples))
        last = max([last] + [s.timeStamp for s in samples])
        time.sleep(0.5)
    for mono, wall, samples in rows:
        for s in samples:
            print(mono, wall, s.timeStamp, s.sampleValue.uiVal, sep=",")


if sys.argv[1] == "fields":
    fields()
elif sys.argv[1] == "ring":
    ring(float(sys.argv[2]))
else:
    poll(float(sys.argv[2]))
