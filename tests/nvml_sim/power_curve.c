#include "power_curve.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* After so many time constants a rise is over: 1e-15 of it is left. */
static const double OVER = 35;

int curve_read_load(PowerCurve *curve, int number, const char *path) {
    FILE *file = fopen(path, "r");
    double seconds, watts;
    int room = 0;
    if (!file || number < 0 || number >= MAX_LOADS) return file ? fclose(file), 0 : 0;
    Load load = {0};
    while (fscanf(file, "%lf %lf", &seconds, &watts) == 2) {
        if (load.count + 1 >= room) {
            room = room ? 2 * room : 64;
            load.start = realloc(load.start, sizeof(double) * room);
            load.watts = realloc(load.watts, sizeof(double) * room);
            load.joules = realloc(load.joules, sizeof(double) * room);
        }
        int i = load.count++;
        if (!i) load.start[0] = load.joules[0] = 0;
        load.watts[i] = watts;
        load.start[i + 1] = load.start[i] + seconds;
        load.joules[i + 1] = load.joules[i] + seconds * watts;
    }
    fclose(file);
    if (load.count) load.period = load.start[load.count];
    curve->loads[number] = load;
    return load.period > 0;
}

/* The piece of a load that `x` (s, 0 <= x < period) lies in. */
static int piece(const Load *load, double x) {
    int low = 0, high = load->count;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (load->start[middle] <= x) low = middle; else high = middle;
    }
    return low;
}

/* Joules of a load from the beginning of its curve to `x` (s), over as many repetitions. */
static double load_joules(const Load *load, double x) {
    double whole = floor(x / load->period), rest = x - whole * load->period;
    int i = piece(load, rest);
    return whole * load->joules[load->count] + load->joules[i] + load->watts[i] * (rest - load->start[i]);
}

static double load_watts(const Load *load, double x) {
    double rest = x - floor(x / load->period) * load->period;
    return load->watts[piece(load, rest)];
}

/* What the rise has taken from the load's joules so far: (load - idle) exp(-s / rise), summed up. */
static double rise_missing(const PowerCurve *curve, const Stretch *stretch, double seconds) {
    const Load *load = &curve->loads[stretch->load];
    double tau = curve->rise, at = stretch->phase - floor(stretch->phase / load->period) * load->period;
    double joules = 0, passed = 0;
    int i = piece(load, at);
    while (passed < seconds) {
        double next = fmin(seconds, passed + load->start[i + 1] - at);
        joules += (load->watts[i] - curve->idle) * tau * (exp(-passed / tau) - exp(-next / tau));
        passed = next;
        i = (i + 1) % load->count;
        at = load->start[i];
    }
    return joules;
}

/* Joules above idle from the beginning of a stretch on. */
static double above_idle(const PowerCurve *curve, Stretch *stretch, double seconds) {
    if (stretch->load < 0)
        return curve->fall > 0 ? stretch->residue * curve->fall * -expm1(-seconds / curve->fall) : 0;
    const Load *load = &curve->loads[stretch->load];
    double joules = load_joules(load, stretch->phase + seconds) - load_joules(load, stretch->phase);
    joules -= curve->idle * seconds;
    if (curve->rise <= 0) return joules;
    double whole = OVER * curve->rise;
    if (seconds >= whole && stretch->missing < 0) stretch->missing = rise_missing(curve, stretch, whole);
    joules -= seconds >= whole ? stretch->missing : rise_missing(curve, stretch, seconds);
    return joules + stretch->residue * curve->rise * -expm1(-seconds / curve->rise);
}

static double watts_above_idle(const PowerCurve *curve, const Stretch *stretch, double seconds) {
    double tau = stretch->load < 0 ? curve->fall : curve->rise;
    double left = tau > 0 ? exp(-seconds / tau) : 0;
    double watts = stretch->residue * left;
    if (stretch->load < 0) return watts;
    const Load *load = &curve->loads[stretch->load];
    return watts + (load_watts(load, stretch->phase + seconds) - curve->idle) * (1 - left);
}

void curve_work(PowerCurve *curve, double t, int load, double phase) {
    Stretch next = {t, load, phase, 0, 0, -1};
    if (curve->count) {
        Stretch *last = &curve->stretches[curve->count - 1];
        next.before = last->before + above_idle(curve, last, t - last->from);
        /* A moment before: work that ends with a piece of its curve falls from that piece. */
        next.residue = watts_above_idle(curve, last, fmax(0, t - last->from - 1e-7));
    }
    if (curve->count == curve->room) {
        curve->room = curve->room ? 2 * curve->room : 64;
        curve->stretches = realloc(curve->stretches, sizeof(Stretch) * curve->room);
    }
    curve->stretches[curve->count++] = next;
}

double curve_energy(PowerCurve *curve, double t) {
    long low = -1, high = curve->count;
    while (high - low > 1) {
        long middle = (low + high) / 2;
        if (curve->stretches[middle].from <= t) low = middle; else high = middle;
    }
    if (low < 0) return curve->idle * t;
    Stretch *stretch = &curve->stretches[low];
    return curve->idle * t + stretch->before + above_idle(curve, stretch, t - stretch->from);
}

void curve_free(PowerCurve *curve) {
    for (int i = 0; i < MAX_LOADS; i++) {
        free(curve->loads[i].start);
        free(curve->loads[i].watts);
        free(curve->loads[i].joules);
    }
    free(curve->stretches);
}
