/* A simulated libnvidia-ml.so.1 whose true energy is known exactly.
 *
 * The environment variable NVML_SIM names a text file. Each line is `key value...`; `#` starts a comment. Lines before
 * the first `gpu` line hold for the library:
 *
 *   init_error CODE                nvmlInit fails with this nvmlReturn_t
 *   driver VERSION
 *
 * A line `gpu` starts a card; the lines after it describe the card. Times are seconds after the epoch, which is
 * CLOCK_MONOTONIC at NVML_SIM_EPOCH (or at the first nvmlInit); `now` and `+0.5` mean from this moment on.
 * Watts are multiplied by NVML_SIM_POWER_SCALE (default 1), which plants a change of power from outside.
 *
 *   name TEXT | uuid TEXT | arch N | pci_device_id N | bus N | temperature CELSIUS
 *   trace constant W
 *   trace square LOW HIGH PERIOD DUTY      high for the first DUTY of each PERIOD
 *   trace sine MEAN AMPLITUDE PERIOD
 *   trace steps PATH               lines `MONOTONIC_SECONDS WATTS`, growing while we run; before the first: 0 W
 *   trace cpu IDLE_W J_PER_CPU_S   follows the CPU time of the process that loaded the library
 *   trace load IDLE_W              idle power, and loads while `work` draws them (see power_curve.h):
 *   load NUMBER PATH               lines `SECONDS WATTS`, each for so long, then from the beginning again
 *   rise SECONDS | fall SECONDS    time constants of the power after work began, and after it ended
 *   work NUMBER PHASE | work none  from this moment on draw that load, from PHASE seconds into it on; rest
 *   counter PERIOD PHASE RESOLUTION_MJ START_MJ | counter none
 *   feed truth | feed sensor       the counter counts the true joules, or the sensor's samples times its period
 *   missing SHARE                  so many ticks do not come: the counter stands until the next
 *   jitter SECONDS                 each tick is moved by up to this much, always in the same way
 *   lag SECONDS                    the counter shows the energy up to this long before its tick
 *   wrap BITS                      the counter (mJ) has this many bits
 *   reset T                        the counter starts from 0 mJ at T
 *   drop FROM TO MJ                the counter shows so much less than it should
 *   stall FROM TO KEEP             the counter stands still; KEEP 1: it catches up afterwards, 0: the joules are lost
 *   speed FACTOR                   the counter counts FACTOR joules for each joule
 *   instant PERIOD WINDOW          NVML_FI_DEV_POWER_INSTANT: updated each PERIOD (0: always), a mean over the last WINDOW
 *   usage PERIOD WINDOW            nvmlDeviceGetPowerUsage, likewise; `instant none`, `usage none`: not supported
 *   sensor PERIOD WINDOW PHASE     samples the power (see power_sensor.h); before the readings that come from it:
 *   instant sensor | usage sensor [SECONDS]   its last sample, or the mean of its samples of the last SECONDS
 *   instant asked PERIOD WINDOW    renewed when it is asked for, if it is older than PERIOD: the mean of the WINDOW before
 *   scope SHARE | scope none       the card is part of a module: the counter and readings asked for with scope
 *                                  MODULE are the module's, and others this share of it; none: no such scope
 *   noise WATTS                    readings (not the energy) differ by up to this much from update to update
 *   limit W FROM                   power limit from then on
 *   clock sm|max|app MHZ FROM      clocks from then on
 *   process PID FROM TO            a compute process; PID 0 is the process that loaded the library
 *   reasons BITS FROM TO           clocks event reasons
 *   lost T                         every call fails with GPU_IS_LOST from T on
 *   mig UUID                       MIG mode is on and there is a slice of this UUID
 *   error FUNCTION CODE            this nvmlDevice... function fails with CODE (0: works again)
 *   hang FUNCTION SECONDS          each call of it takes that long
 *   call SECONDS JITTER            each call of any nvmlDevice... function takes that long, give or take; they wait
 *                                  for one another, and what they answer is of a random moment in between
 *   energy_call SECONDS JITTER     a call that reads the counter takes that long instead
 *   seed N                         of what is moved by chance
 *
 * Functions for tests besides NVML's: nvmlSimCommand(gpu, line) applies a line of a card now,
 * nvmlSimEnergyBetween(gpu, t0, t1) is the exact energy (J) between two CLOCK_MONOTONIC times,
 * nvmlSimCalls() counts calls of nvmlDevice... functions, nvmlSimReset() forgets all cards.
 *
 * nvmlSimUseClock(wait, start) lets simulated seconds pass in place of real ones: nvmlSimNow is the time then, which
 * calls move on themselves up to nvmlSimNextWake; beyond it they ask wait(t) to come back at `t`. NULL: real ones again.
 */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "power_curve.h"
#include "power_sensor.h"

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       IS_LOST = 15 };
enum { MAX_GPUS = 32, MAX_EVENTS = 64, MAX_STEPS = 1 << 20 };
enum { FIELD_AVERAGE = 185, FIELD_INSTANT = 186, SCOPE_MODULE = 1, VALUE_UNSIGNED_INT = 1 };
static const double FOREVER = 1e18;

typedef enum { CONSTANT, SQUARE, SINE, STEPS, CPU, LOADS } Shape;
typedef struct { double from, to, value; } Event;
typedef struct { Event at[MAX_EVENTS]; int count; } Events;
typedef struct { int supported; double period, window; int sampled, asked; double renewed; unsigned held_mw; } Sensor;
typedef struct { double time, value; } Point;
typedef struct { char name[64]; int code; } Fault;

typedef struct {
    char name[96], uuid[96], mig_uuid[96];
    unsigned arch, pci_device_id, bus;
    double temperature;
    Shape shape;
    double a, b, period, duty;
    char path[512];
    long steps_read;
    Point *steps;
    int step_count;
    int counter_supported;
    double tick, phase, resolution_mj, start_mj, jitter, lag, speed, lost, noise;
    int wrap_bits;
    PowerCurve curve;
    PowerSensor sensor;
    int fed_by_sensor;
    unsigned seed;
    double missing, call_seconds, call_jitter, energy_call_seconds, energy_call_jitter, gpu_share;
    int has_scopes;
    Sensor instant, usage;
    Events resets, drops, stalls, limits, sm_clocks, max_clocks, app_clocks, processes, reasons;
    Fault faults[MAX_EVENTS];
    int fault_count;
    char hanging[64];
    double hang_seconds;
} Gpu;

typedef struct { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; } ProcessInfo;
typedef struct {
    char legacy_id[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
} PciInfo;
typedef union { double d; unsigned ui; unsigned long ul; unsigned long long ull; long long sll; } Value;
typedef struct {
    unsigned field_id, scope_id;
    int64_t timestamp, latency_usec;
    int value_type, status;
    Value value;
} FieldValue;

static Gpu gpus[MAX_GPUS];
static int gpu_count, init_error, loaded;
static unsigned long long calls;
static char driver[80] = "580.00";
double epoch = -1;
static double scale = 1;
static pid_t loader;
static Point *cpu_points;
static int cpu_count;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static double seconds_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* ---- simulated seconds ---- */

static const double SHORTEST_CALL = 20e-6;
double nvmlSimNow, nvmlSimNextWake = 1e18;
static void (*simulated_wait)(double);
static double driver_free_at;
static long timed_calls;
static pthread_mutex_t driver_mutex = PTHREAD_MUTEX_INITIALIZER;

void nvmlSimUseClock(void (*wait)(double), double start) {
    simulated_wait = wait;
    nvmlSimNow = start;
    nvmlSimNextWake = 1e18;
    driver_free_at = 0;
}

static double clock_now(void) { return simulated_wait ? nvmlSimNow : seconds_of(CLOCK_MONOTONIC); }
static double now(void) { return clock_now() - epoch; }

static void pass(double seconds) {
    if (seconds <= 0) return;
    double until = nvmlSimNow + seconds;
    if (!simulated_wait) usleep((useconds_t)(1e6 * seconds));
    else if (until < nvmlSimNextWake) nvmlSimNow = until;
    else simulated_wait(until);
}

/* ---- the truth: joules from the epoch to t ---- */

static double interpolate(const Point *p, int n, double t) {
    int low = 0, high = n - 1;
    if (n == 0 || t <= p[0].time) return 0;
    if (t >= p[high].time) return p[high].value;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (p[middle].time <= t) low = middle; else high = middle;
    }
    double part = (t - p[low].time) / (p[high].time - p[low].time);
    return p[low].value + part * (p[high].value - p[low].value);
}

static void read_steps(Gpu *g) {
    struct stat status;
    if (stat(g->path, &status) || status.st_size == g->steps_read) return;
    FILE *file = fopen(g->path, "r");
    if (!file) return;
    double time, watts;
    if (!g->steps) g->steps = malloc(sizeof(Point) * MAX_STEPS);
    g->step_count = 0;
    while (g->step_count < MAX_STEPS && fscanf(file, "%lf %lf", &time, &watts) == 2)
        g->steps[g->step_count++] = (Point){time - epoch, watts};
    fclose(file);
    g->steps_read = status.st_size;
}

static double cpu_seconds_until(double t) {
    /* What was told once is a point from then on: a counter does not fall back. */
    if (cpu_count && cpu_count < MAX_STEPS && t > cpu_points[cpu_count - 1].time && t >= now() - 0.001)
        cpu_points[cpu_count++] = (Point){t, seconds_of(CLOCK_PROCESS_CPUTIME_ID)};
    return interpolate(cpu_points, cpu_count, t);
}

static double energy(Gpu *g, double t) {
    double joules = 0;
    switch (g->shape) {
    case CONSTANT:
        joules = g->a * t;
        break;
    case SQUARE: {
        double whole = floor(t / g->period), rest = t - whole * g->period, high = g->duty * g->period;
        double one = g->b * high + g->a * (g->period - high);
        joules = whole * one + (rest < high ? g->b * rest : g->b * high + g->a * (rest - high));
        break;
    }
    case SINE: {
        double w = 2 * M_PI / g->period;
        joules = g->a * t + g->b / w * (1 - cos(w * t));
        break;
    }
    case STEPS:
        read_steps(g);
        for (int i = 0; i < g->step_count && g->steps[i].time < t; i++) {
            double end = i + 1 < g->step_count && g->steps[i + 1].time < t ? g->steps[i + 1].time : t;
            joules += g->steps[i].value * (end - g->steps[i].time);
        }
        break;
    case CPU:
        joules = g->a * t + g->b * cpu_seconds_until(t);
        break;
    case LOADS:
        joules = curve_energy(&g->curve, t);
        break;
    }
    return scale * joules;
}

static double watts_at(Gpu *g, double t) { return (energy(g, t) - energy(g, t - 1e-4)) / 1e-4; }

/* ---- what the card shows of it ---- */

static double tick_at(Gpu *g, long k) { return g->phase + k * g->tick + g->jitter * wobble(k, g->seed + 1); }

static double tick_before(Gpu *g, double t) {
    if (g->tick <= 0) return t;
    long k = (long)floor((t - g->phase) / g->tick) + 1;
    while (tick_at(g, k) > t || wobble(k, g->seed + 3) < 2 * g->missing - 1) k--;
    return tick_at(g, k);
}

static double true_energy(void *card, double t) { return energy(card, t); }

/* Joules from the epoch to t, as the counter would have them. */
static double counted(Gpu *g, double t) {
    return g->fed_by_sensor ? sensor_energy(&g->sensor, true_energy, g, t) : energy(g, t);
}

static unsigned long long counter(Gpu *g, double t) {
    double lost = 0, base = 0;
    for (int i = 0; i < g->stalls.count; i++) {
        Event *s = &g->stalls.at[i];
        if (t >= s->from && t < s->to) t = s->from;
        else if (t >= s->to && s->value == 0) lost += counted(g, s->to) - counted(g, s->from);
    }
    double shown = tick_before(g, t) - g->lag, start = g->start_mj;
    for (int i = 0; i < g->resets.count; i++)
        if (t >= g->resets.at[i].from) {
            base = counted(g, g->resets.at[i].from);
            start = 0;
        }
    double mj = 1000 * g->speed * fmax(0, counted(g, shown) - base - lost) + start;
    for (int i = 0; i < g->drops.count; i++)
        if (t >= g->drops.at[i].from && t < g->drops.at[i].to) mj -= g->drops.at[i].value;
    unsigned long long raw = (unsigned long long)(floor(mj / g->resolution_mj) * g->resolution_mj);
    return g->wrap_bits < 64 ? raw & ((1ull << g->wrap_bits) - 1) : raw;
}

static unsigned reading_mw(Gpu *g, Sensor *s, double t) {
    if (s->asked) {
        if (t - s->renewed < s->period) return s->held_mw;
        Sensor now = {1, 0, s->window, 0, 0, 0, 0};
        s->renewed = t;
        return s->held_mw = reading_mw(g, &now, t);
    }
    if (s->sampled) return (unsigned)(1000 * sensor_watts(&g->sensor, true_energy, g, t, s->window));
    long k = s->period > 0 ? (long)floor((t - g->phase) / s->period) : (long)(t * 1000);
    double at = s->period > 0 ? g->phase + k * s->period : t;
    double watts = s->window > 0 ? (energy(g, at) - energy(g, at - s->window)) / s->window : watts_at(g, at);
    return (unsigned)(1000 * fmax(0, watts + g->noise * wobble(k, g->seed + 2)));
}

static double latest(const Events *events, double t, double fallback) {
    for (int i = 0; i < events->count; i++)
        if (t >= events->at[i].from) fallback = events->at[i].value;
    return fallback;
}

/* ---- configuration ---- */

static void defaults(Gpu *g, int index) {
    memset(g, 0, sizeof *g);
    snprintf(g->name, sizeof g->name, "NVIDIA Simulated");
    snprintf(g->uuid, sizeof g->uuid, "GPU-%08x-0000-0000-0000-000000000000", index + 1);
    g->arch = 9; g->pci_device_id = 0x233510DE; g->bus = index + 1;
    g->temperature = 50; g->a = 300; g->period = 1;
    g->counter_supported = 1; g->tick = 0.1; g->resolution_mj = 1; g->start_mj = 5e6;
    g->gpu_share = 1;
    g->speed = 1; g->lost = FOREVER; g->wrap_bits = 64;
    g->instant = (Sensor){1, 0, 0, 0, 0, 0, 0};
    g->usage = (Sensor){1, 0, 1, 0, 0, 0, 0};
}

static double moment(const char *text) {
    if (!strcmp(text, "now")) return now();
    if (text[0] == '+') return now() + atof(text + 1);
    return !strcmp(text, "never") ? FOREVER : atof(text);
}

static void add(Events *events, double from, double to, double value) {
    if (events->count < MAX_EVENTS) events->at[events->count++] = (Event){from, to, value};
}

static int sensor(Sensor *s, int n, char w[][128]) {
    s->supported = strcmp(w[1], "none") != 0;
    s->sampled = !strcmp(w[1], "sensor");
    s->asked = !strcmp(w[1], "asked");
    if (s->asked) { s->period = atof(w[2]); s->window = atof(w[3]); s->renewed = -FOREVER; return n == 4; }
    if (s->sampled) { s->window = atof(w[2]); return n <= 3; }
    if (s->supported && n == 3) { s->period = atof(w[1]); s->window = atof(w[2]); return 1; }
    return !s->supported;
}

static int trace(Gpu *g, int n, char w[][128], const char *line) {
    g->a = atof(w[2]); g->b = atof(w[3]); g->period = atof(w[4]); g->duty = atof(w[5]);
    if (!strcmp(w[1], "constant") && n == 3) g->shape = CONSTANT;
    else if (!strcmp(w[1], "square") && n == 6) g->shape = SQUARE;
    else if (!strcmp(w[1], "sine") && n == 5) g->shape = SINE;
    else if (!strcmp(w[1], "cpu") && n == 4) g->shape = CPU;
    else if (!strcmp(w[1], "load") && n == 3) { g->shape = LOADS; g->curve.idle = g->a; }
    else if (!strcmp(w[1], "steps") && n == 3) {
        g->shape = STEPS;
        snprintf(g->path, sizeof g->path, "%s", strstr(line, "steps") + 6);
        g->path[strcspn(g->path, "\r\n")] = 0;
    } else return 0;
    return 1;
}

/* 1 if the line is understood. */
static int apply(Gpu *g, const char *line) {
    char w[6][128] = {"", "", "", "", "", ""}, rest[256] = "";
    int n = sscanf(line, "%127s %127s %127s %127s %127s %127s", w[0], w[1], w[2], w[3], w[4], w[5]);
    sscanf(line, "%*s %255[^\r\n]", rest);
    if (n < 2) return 0;
    double v = atof(w[1]);
    const char *key = w[0];
#define IS(text) !strcmp(key, text)
    if (IS("name")) snprintf(g->name, sizeof g->name, "%s", rest);
    else if (IS("uuid")) snprintf(g->uuid, sizeof g->uuid, "%s", rest);
    else if (IS("mig")) snprintf(g->mig_uuid, sizeof g->mig_uuid, "%s", rest);
    else if (IS("arch")) g->arch = strtoul(w[1], NULL, 0);
    else if (IS("pci_device_id")) g->pci_device_id = strtoul(w[1], NULL, 0);
    else if (IS("bus")) g->bus = strtoul(w[1], NULL, 0);
    else if (IS("temperature")) g->temperature = v;
    else if (IS("trace")) return trace(g, n, w, line);
    else if (IS("counter") && n == 2) g->counter_supported = 0;
    else if (IS("counter") && n == 5) {
        g->counter_supported = 1;
        g->tick = v; g->phase = atof(w[2]); g->resolution_mj = atof(w[3]); g->start_mj = atof(w[4]);
    }
    else if (IS("load") && n == 3) return curve_read_load(&g->curve, atoi(w[1]), strstr(line, w[1]) + strlen(w[1]) + 1);
    else if (IS("rise")) g->curve.rise = v;
    else if (IS("fall")) g->curve.fall = v;
    else if (IS("work") && n == 2) curve_work(&g->curve, now(), -1, 0);
    else if (IS("work") && n == 3) curve_work(&g->curve, now(), atoi(w[1]), atof(w[2]));
    else if (IS("sensor") && n == 4) {
        g->sensor.period = v; g->sensor.window = atof(w[2]); g->sensor.phase = atof(w[3]);
        g->sensor.noise = g->noise; g->sensor.seed = g->seed;
    }
    else if (IS("feed")) g->fed_by_sensor = !strcmp(w[1], "sensor");
    else if (IS("missing")) g->missing = v;
    else if (IS("call") && n == 3) { g->call_seconds = v; g->call_jitter = atof(w[2]); }
    else if (IS("energy_call") && n == 3) { g->energy_call_seconds = v; g->energy_call_jitter = atof(w[2]); }
    else if (IS("seed")) g->seed = strtoul(w[1], NULL, 0);
    else if (IS("jitter")) g->jitter = v;
    else if (IS("lag")) g->lag = v;
    else if (IS("wrap")) g->wrap_bits = atoi(w[1]);
    else if (IS("reset")) add(&g->resets, moment(w[1]), FOREVER, 0);
    else if (IS("drop") && n == 4) add(&g->drops, moment(w[1]), moment(w[2]), atof(w[3]));
    else if (IS("stall") && n == 4) add(&g->stalls, moment(w[1]), moment(w[2]), atof(w[3]));
    else if (IS("speed")) g->speed = v;
    else if (IS("scope")) {
        g->has_scopes = strcmp(w[1], "none") != 0;
        if (g->has_scopes) g->gpu_share = v;
    }
    else if (IS("noise")) g->noise = g->sensor.noise = v;
    else if (IS("instant")) return sensor(&g->instant, n, w);
    else if (IS("usage")) return sensor(&g->usage, n, w);
    else if (IS("limit") && n == 3) add(&g->limits, moment(w[2]), FOREVER, v);
    else if (IS("clock") && n == 4) {
        Events *events = !strcmp(w[1], "sm") ? &g->sm_clocks : !strcmp(w[1], "max") ? &g->max_clocks : &g->app_clocks;
        add(events, moment(w[3]), FOREVER, atof(w[2]));
    }
    else if (IS("process") && n == 4) add(&g->processes, moment(w[2]), moment(w[3]), v > 0 ? v : loader);
    else if (IS("reasons") && n == 4) add(&g->reasons, moment(w[2]), moment(w[3]), strtoul(w[1], NULL, 0));
    else if (IS("lost")) g->lost = moment(w[1]);
    else if (IS("hang") && n == 3) {
        snprintf(g->hanging, sizeof g->hanging, "%.63s", w[1]);
        g->hang_seconds = atof(w[2]);
    }
    else if (IS("error") && n == 3 && g->fault_count < MAX_EVENTS) {
        snprintf(g->faults[g->fault_count].name, 64, "%.63s", w[1]);
        g->faults[g->fault_count++].code = atoi(w[2]);
    }
    else return 0;
#undef IS
    return 1;
}

static void *watch_cpu(void *unused) {
    double next = 0;
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&mutex);
        if (cpu_count < MAX_STEPS)
            cpu_points[cpu_count++] = (Point){now(), seconds_of(CLOCK_PROCESS_CPUTIME_ID)};
        next = tick_before(&gpus[0], now()) + (gpus[0].tick > 0 ? gpus[0].tick : 0.1);
        pthread_mutex_unlock(&mutex);
        double wait = next - now();
        if (wait > 0) usleep((useconds_t)(1e6 * wait));
    }
    return NULL;
}

static int load(void) {
    const char *path = getenv("NVML_SIM"), *start = getenv("NVML_SIM_EPOCH"), *factor = getenv("NVML_SIM_POWER_SCALE");
    char line[1024];
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return fprintf(stderr, "nvml_sim: NVML_SIM does not name a readable file\n"), NOT_FOUND;
    epoch = start ? atof(start) : clock_now();
    scale = factor ? atof(factor) : 1;
    loader = getpid();
    while (fgets(line, sizeof line, file)) {
        char word[64] = "";
        sscanf(line, "%63s", word);
        if (!word[0] || word[0] == '#') continue;
        if (!strcmp(word, "gpu") && gpu_count < MAX_GPUS) { defaults(&gpus[gpu_count], gpu_count); gpu_count++; }
        else if (!gpu_count && !strcmp(word, "init_error")) sscanf(line, "%*s %d", &init_error);
        else if (!gpu_count && !strcmp(word, "driver")) sscanf(line, "%*s %79s", driver);
        else if (!gpu_count || !apply(&gpus[gpu_count - 1], line)) {
            fprintf(stderr, "nvml_sim: cannot use the line: %s", line);
            abort();
        }
    }
    fclose(file);
    for (int i = 0; i < gpu_count; i++)
        if (gpus[i].shape == CPU && !cpu_points) {
            pthread_t thread;
            cpu_points = malloc(sizeof(Point) * MAX_STEPS);
            pthread_create(&thread, NULL, watch_cpu, NULL);
        }
    loaded = 1;
    return SUCCESS;
}

/* ---- functions for tests ---- */

double nvmlSimEnergyBetween(int gpu, double t0, double t1) {
    pthread_mutex_lock(&mutex);
    double joules = energy(&gpus[gpu], t1 - epoch) - energy(&gpus[gpu], t0 - epoch);
    pthread_mutex_unlock(&mutex);
    return joules;
}

int nvmlSimCommand(int gpu, const char *line) {
    pthread_mutex_lock(&mutex);
    int understood = apply(&gpus[gpu], line);
    pthread_mutex_unlock(&mutex);
    return understood;
}

unsigned long long nvmlSimCalls(void) { return calls; }

void nvmlSimReset(void) {
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < gpu_count; i++) {
        curve_free(&gpus[i].curve);
        free(gpus[i].sensor.joules);
    }
    gpu_count = init_error = loaded = 0;
    calls = 0;
    timed_calls = 0;
    pthread_mutex_unlock(&mutex);
}

/* ---- NVML ---- */

static int initialised;

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    pthread_mutex_lock(&mutex);
    int code = loaded ? SUCCESS : load();
    if (code == SUCCESS) code = init_error;
    if (code == SUCCESS) initialised++;
    pthread_mutex_unlock(&mutex);
    return code;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlInit(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) {
    if (!initialised) return UNINITIALIZED;
    initialised--;
    return SUCCESS;
}

const char *nvmlErrorString(int code) {
    switch (code) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case NOT_SUPPORTED: return "Not Supported";
    case NOT_FOUND: return "Not Found";
    case IS_LOST: return "GPU is lost";
    default: return "Simulated error";
    }
}

static int text(char *out, unsigned length, const char *value) {
    return snprintf(out, length, "%s", value) < (int)length ? SUCCESS : INSUFFICIENT_SIZE;
}
int nvmlSystemGetDriverVersion(char *out, unsigned length) { return text(out, length, driver); }
int nvmlSystemGetNVMLVersion(char *out, unsigned length) { return text(out, length, "13.580.00"); }
int nvmlSystemGetCudaDriverVersion(int *version) { *version = 13000; return SUCCESS; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { return nvmlSystemGetCudaDriverVersion(version); }
int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = gpu_count;
    return initialised ? SUCCESS : UNINITIALIZED;
}
int nvmlDeviceGetCount(unsigned *count) { return nvmlDeviceGetCount_v2(count); }

/* A slice's handle is the address of its card's slice name: never a card's own address. */
static Gpu *card(void *handle) {
    for (int i = 0; i < gpu_count; i++)
        if (handle == (void *)&gpus[i] || handle == (void *)gpus[i].mig_uuid) return &gpus[i];
    return NULL;
}
static int slice(void *handle) {
    Gpu *g = card(handle);
    return g && handle == (void *)g->mig_uuid;
}

static int check(void *handle, const char *function) {
    Gpu *g = card(handle);
    calls++;
    if (!initialised) return UNINITIALIZED;
    if (!g) return INVALID_ARGUMENT;
    if (now() >= g->lost) return IS_LOST;
    int code = SUCCESS;
    for (int i = 0; i < g->fault_count; i++)
        if (!strcmp(g->faults[i].name, function)) code = g->faults[i].code;
    return code;
}
static void hang(void *handle, const char *function) {
    Gpu *g = card(handle);
    if (g && !strcmp(g->hanging, function)) pass(g->hang_seconds);
}
/* Waits for other calls to end and for what passes before the answer; what passes after it (s). */
static double begin_call(void *handle, const char *function) {
    Gpu *g = card(handle);
    int own = g && g->energy_call_seconds > 0 && !strcmp(function, "nvmlDeviceGetTotalEnergyConsumption");
    double usual = !g ? 0 : own ? g->energy_call_seconds : g->call_seconds;
    if (!g || (!simulated_wait && usual <= 0)) return 0;
    if (!simulated_wait) pthread_mutex_lock(&driver_mutex);
    long number = ++timed_calls;
    double jitter = own ? g->energy_call_jitter : g->call_jitter;
    double seconds = fmax(SHORTEST_CALL, usual + jitter * wobble(number, g->seed + 4));
    double before = seconds * (wobble(number, g->seed + 5) + 1) / 2;
    if (simulated_wait) {
        double start = fmax(nvmlSimNow, driver_free_at);
        driver_free_at = start + seconds;
        pass(start + before - nvmlSimNow);
    } else pass(before);
    return seconds - before;
}
static void end_call(double seconds) {
    pass(seconds);
    if (!simulated_wait && seconds > 0) pthread_mutex_unlock(&driver_mutex);
}
/* Defines FUNCTION(handle, PARAMETERS...): its body runs with the card as `g` and the time as `t`. */
#define DEVICE(FUNCTION, PARAMETERS, ...)                        \
    int FUNCTION PARAMETERS {                                    \
        hang(handle, #FUNCTION);                                 \
        double left = begin_call(handle, #FUNCTION);                       \
        pthread_mutex_lock(&mutex);                              \
        int code = check(handle, #FUNCTION);                     \
        if (code == SUCCESS) {                                   \
            Gpu *g = card(handle);                               \
            double t = now();                                    \
            (void)g, (void)t;                                    \
            __VA_ARGS__                                          \
        }                                                        \
        pthread_mutex_unlock(&mutex);                            \
        end_call(left);                                          \
        return code;                                             \
    }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    if (!initialised) return UNINITIALIZED;
    if (index >= (unsigned)gpu_count) return INVALID_ARGUMENT;
    *handle = &gpus[index];
    return check(*handle, "nvmlDeviceGetHandleByIndex_v2");
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    for (int i = 0; i < gpu_count; i++) {
        if (!strcmp(uuid, gpus[i].uuid)) return *handle = &gpus[i], SUCCESS;
        if (gpus[i].mig_uuid[0] && !strcmp(uuid, gpus[i].mig_uuid)) return *handle = gpus[i].mig_uuid, SUCCESS;
    }
    return NOT_FOUND;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **handle) {
    for (int i = 0; i < gpu_count; i++) {
        char own[32];
        snprintf(own, sizeof own, "00000000:%02X:00.0", gpus[i].bus);
        if (!strcasecmp(id, own) || !strcasecmp(id, own + 4)) return *handle = &gpus[i], SUCCESS;
    }
    return NOT_FOUND;
}
DEVICE(nvmlDeviceGetName, (void *handle, char *out, unsigned length), code = text(out, length, g->name);)
DEVICE(nvmlDeviceGetUUID, (void *handle, char *out, unsigned length), code = text(out, length, slice(handle) ? g->mig_uuid : g->uuid);)
DEVICE(nvmlDeviceGetIndex, (void *handle, unsigned *out), *out = (unsigned)(g - gpus);)
DEVICE(nvmlDeviceGetMinorNumber, (void *handle, unsigned *out), *out = (unsigned)(g - gpus);)
DEVICE(nvmlDeviceGetArchitecture, (void *handle, unsigned *out), *out = g->arch;)
DEVICE(nvmlDeviceGetCudaComputeCapability, (void *handle, int *major, int *minor), *major = (int)g->arch; *minor = 0;)
DEVICE(nvmlDeviceGetPersistenceMode, (void *handle, unsigned *out), *out = 1;)
DEVICE(nvmlDeviceGetComputeMode, (void *handle, unsigned *out), *out = 0;)
DEVICE(nvmlDeviceGetPerformanceState, (void *handle, unsigned *out), *out = 0;)
DEVICE(nvmlDeviceGetPciInfo_v3, (void *handle, PciInfo *out),
    memset(out, 0, sizeof *out);
    out->bus = g->bus;
    out->pci_device_id = g->pci_device_id;
    snprintf(out->legacy_id, sizeof out->legacy_id, "0000:%02X:00.0", g->bus);
    snprintf(out->bus_id, sizeof out->bus_id, "00000000:%02X:00.0", g->bus);
)
DEVICE(nvmlDeviceGetTemperature, (void *handle, int sensor, unsigned *out), *out = (unsigned)g->temperature;)
DEVICE(nvmlDeviceGetTotalEnergyConsumption, (void *handle, unsigned long long *out),
    if (!g->counter_supported || slice(handle)) code = NOT_SUPPORTED;
    else *out = counter(g, t);
)
DEVICE(nvmlDeviceGetPowerUsage, (void *handle, unsigned *out),
    if (!g->usage.supported || slice(handle)) code = NOT_SUPPORTED;
    else *out = (unsigned)(g->gpu_share * reading_mw(g, &g->usage, t));
)
DEVICE(nvmlDeviceGetFieldValues, (void *handle, int count, FieldValue *values),
    for (int i = 0; i < count; i++) {
        FieldValue *v = &values[i];
        Sensor average = {g->usage.supported, 0, 1, g->usage.sampled, 0, 0, 0};
        Sensor *s = v->field_id == FIELD_INSTANT ? &g->instant : &average;
        v->status = (v->field_id == FIELD_INSTANT || v->field_id == FIELD_AVERAGE) && s->supported && !slice(handle)
            && (v->scope_id != SCOPE_MODULE || g->has_scopes) ? SUCCESS : NOT_SUPPORTED;
        v->timestamp = (int64_t)(1e6 * seconds_of(CLOCK_REALTIME));
        v->value_type = VALUE_UNSIGNED_INT;
        if (v->status == SUCCESS) v->value.ui = (unsigned)((v->scope_id == SCOPE_MODULE ? 1 : g->gpu_share) * reading_mw(g, s, t));
    }
)
DEVICE(nvmlDeviceGetEnforcedPowerLimit, (void *handle, unsigned *out), *out = (unsigned)(1000 * latest(&g->limits, t, 700));)
DEVICE(nvmlDeviceGetPowerManagementLimit, (void *handle, unsigned *out), *out = (unsigned)(1000 * latest(&g->limits, t, 700));)
DEVICE(nvmlDeviceGetPowerManagementDefaultLimit, (void *handle, unsigned *out), *out = 700000;)
DEVICE(nvmlDeviceGetClockInfo, (void *handle, int type, unsigned *out), *out = (unsigned)(type == 2 ? 2619 : latest(&g->sm_clocks, t, 1980));)
DEVICE(nvmlDeviceGetMaxClockInfo, (void *handle, int type, unsigned *out), *out = (unsigned)(type == 2 ? 2619 : latest(&g->max_clocks, t, 1980));)
DEVICE(nvmlDeviceGetApplicationsClock, (void *handle, int type, unsigned *out), *out = (unsigned)(type == 2 ? 2619 : latest(&g->app_clocks, t, 1980));)
DEVICE(nvmlDeviceGetCurrentClocksEventReasons, (void *handle, unsigned long long *out),
    *out = 0;
    for (int i = 0; i < g->reasons.count; i++)
        if (t >= g->reasons.at[i].from && t < g->reasons.at[i].to) *out |= (unsigned long long)g->reasons.at[i].value;
)
DEVICE(nvmlDeviceGetComputeRunningProcesses_v3, (void *handle, unsigned *count, ProcessInfo *infos),
    unsigned room = infos ? *count : 0;
    unsigned found = 0;
    for (int i = 0; i < g->processes.count; i++) {
        Event *p = &g->processes.at[i];
        if (t < p->from || t >= p->to) continue;
        if (found < room) infos[found] = (ProcessInfo){(unsigned)p->value, 1 << 30, ~0u, ~0u};
        found++;
    }
    *count = found;
    if (found > room) code = INSUFFICIENT_SIZE;
)
DEVICE(nvmlDeviceGetGraphicsRunningProcesses_v3, (void *handle, unsigned *count, ProcessInfo *infos), *count = 0;)
DEVICE(nvmlDeviceGetMemoryInfo, (void *handle, unsigned long long *out), out[0] = 150ull << 30; out[1] = 149ull << 30; out[2] = 1ull << 30;)
DEVICE(nvmlDeviceGetUtilizationRates, (void *handle, unsigned *out), out[0] = 90; out[1] = 40;)
DEVICE(nvmlDeviceGetMigMode, (void *handle, unsigned *current, unsigned *pending), *current = *pending = g->mig_uuid[0] != 0;)
DEVICE(nvmlDeviceGetMaxMigDeviceCount, (void *handle, unsigned *out), *out = g->mig_uuid[0] != 0;)
DEVICE(nvmlDeviceGetMigDeviceHandleByIndex, (void *handle, unsigned index, void **out),
    if (index || !g->mig_uuid[0]) code = NOT_FOUND;
    else *out = g->mig_uuid;
)
DEVICE(nvmlDeviceIsMigDeviceHandle, (void *handle, unsigned *out), *out = slice(handle);)
DEVICE(nvmlDeviceGetDeviceHandleFromMigDeviceHandle, (void *handle, void **out), *out = g;)
