/* What a card's sensor sees of its true power: every `period` a mean over the `window` before.
 *
 * A sample is held until the next. Where the window is shorter than the period the sensor looks a
 * part of the time only. A counter that is fed by it takes each sample for a whole period.
 */
#ifndef POWER_SENSOR_H
#define POWER_SENSOR_H

typedef double (*Energy)(void *card, double t);
typedef struct {
    double period, window, phase, noise;    /* s, s, s, W; a period of 0: there is no sensor */
    unsigned seed;
    double *joules;                         /* samples times period, summed up, from second 0 on */
    long count, room;
} PowerSensor;

/* The last sample at `t` or the mean of those of the last `seconds` (W), as far as there are any. */
double sensor_watts(PowerSensor *sensor, Energy energy, void *card, double t, double seconds);
/* Samples times period up to `t`, summed up (J). */
double sensor_energy(PowerSensor *sensor, Energy energy, void *card, double t);

/* Evenly spread over -1 to 1, always the same for a number and a salt. */
double wobble(long k, unsigned salt);

#endif
