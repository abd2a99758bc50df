#include "power_sensor.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

double wobble(long k, unsigned salt) {
    uint64_t x = (uint64_t)k * 0x9E3779B97F4A7C15u + salt;
    x ^= x >> 31; x *= 0xBF58476D1CE4E5B9u; x ^= x >> 27; x *= 0x94D049BB133111EBu; x ^= x >> 31;
    return (double)(x >> 11) / (double)(1ull << 52) - 1;
}

/* How many samples there are up to `t`; all of them are taken. The first is at `phase`. */
static long taken(PowerSensor *s, Energy energy, void *card, double t) {
    long wanted = (long)floor((t - s->phase) / s->period) + 1;
    while (s->count < wanted) {
        if (s->count == s->room) {
            s->room = s->room ? 2 * s->room : 1024;
            s->joules = realloc(s->joules, sizeof(double) * s->room);
        }
        double at = s->phase + s->count * s->period;
        double watts = (energy(card, at) - energy(card, at - s->window)) / s->window;
        watts = fmax(0, watts + s->noise * wobble(s->count, s->seed + 2));
        s->joules[s->count] = (s->count ? s->joules[s->count - 1] : 0) + watts * s->period;
        s->count++;
    }
    return wanted;
}

double sensor_watts(PowerSensor *s, Energy energy, void *card, double t, double seconds) {
    long n = taken(s, energy, card, t), mean = lround(seconds / s->period);
    if (n < 1) return 0;
    if (mean < 1) mean = 1;
    if (mean > n) mean = n;
    double before = n > mean ? s->joules[n - 1 - mean] : 0;
    return (s->joules[n - 1] - before) / (mean * s->period);
}

double sensor_energy(PowerSensor *s, Energy energy, void *card, double t) {
    long n = taken(s, energy, card, t);
    return n < 1 ? 0 : s->joules[n - 1];
}
