/* The true power of a card: loads on top of idle power, switched on and off by `work`.
 *
 * A load is a curve of power, repeated for as long as work draws it: pieces of constant watts.
 * After work began, power rises to the load's with the time constant `rise`; after it ended, power
 * falls from where it was to idle power with the time constant `fall` (both s; 0: at once).
 */
#ifndef POWER_CURVE_H
#define POWER_CURVE_H

enum { MAX_LOADS = 64 };

typedef struct { int count; double period, *start, *watts, *joules; } Load;
typedef struct {
    double from;        /* s */
    int load;           /* -1: rest */
    double phase;       /* s into the load's curve at `from` */
    double residue;     /* W above idle at `from` */
    double before;      /* J above idle up to `from` */
    double missing;     /* J that the whole rise takes from the load's; negative: not known yet */
} Stretch;
typedef struct {
    double idle, rise, fall;
    Load loads[MAX_LOADS];
    Stretch *stretches;
    long count, room;
} PowerCurve;

/* Read a load from a file of lines `SECONDS WATTS`, each for so long; 1 if it could be read. */
int curve_read_load(PowerCurve *curve, int number, const char *path);
/* From `t` (s) on, which is not before any earlier change, draw this load; -1: rest. */
void curve_work(PowerCurve *curve, double t, int load, double phase);
/* Joules from 0 s to `t`; before the first work the card is idle. */
double curve_energy(PowerCurve *curve, double t);
void curve_free(PowerCurve *curve);

#endif
