/* A small stand-in for NVIDIA's libnvidia-ml.so.1, enough for the real nvidia-ml-py to run on a
 * machine without a GPU.
 *
 *   gcc -shared -fPIC -O1 -pthread -o libnvidia-ml.so.1 nvml.c
 *   LD_LIBRARY_PATH=. FAKE_NVML_STATE=state.txt python agent.py
 *
 * Set both variables before the process starts. With -DOLD_DRIVER the library lacks the symbols
 * that a driver of 2018 lacked.
 *
 * The state file is looked at on every call, so a test changes the view of a running agent by
 * replacing it. Each line is "<gpu index> <key> <value>"; index -1 sets a default for all GPUs.
 * Later lines win. Numbers are taken modulo the width that the real function has, so that -1 is
 * what a driver means by "not available".
 *
 * The driver as a whole, with index -1:
 *   init E       nvmlInit answers error E
 *   count N      number of GPUs (8)
 *   reload N     another N than at nvmlInit: the driver was reloaded, calls answer "uninitialized"
 * Any call, of one GPU or with index -1 of all:
 *   fail.NAME E  the function NAME answers error E
 *   fail E       every function but nvmlInit does
 *   hang.NAME 1  the function NAME does not return before the file says otherwise
 * A GPU:
 *   lost 1       GPU is lost (error 15)
 *   name T, uuid T                 texts without blanks
 *   temp C, slowdown C             its temperature (45) and that of the hardware slowdown (87)
 *   power_mw N, util P             power (300000) and percent (90)
 *   used B, total B                bytes of memory in use (1000), and in all
 *   ecc_sbe N, ecc_dbe N           total corrected, uncorrected errors since the driver was loaded
 *   remap_cor N, remap_unc N       rows that were remapped
 *   remap_pending 1, remap_failed 1, retired_pending 1
 *   reasons M    mask of why the clocks are low
 *   pcie_replays N
 *   links N      NVLinks (18)
 *   link.L.C N   counter C, from 0 to 4, of link L
 *   xid N        each such line is one event, given once, unless the event set is younger than it
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, TIMEOUT = 10, GPU_IS_LOST = 15 };
enum { GPUS_MAX = 64, LINES_MAX = 1024, XID_CRITICAL_ERROR = 8 };

typedef int Status;
typedef unsigned long long Number;
typedef struct device { int index; } *Device;
typedef struct event_set { int given; } *EventSet;
typedef struct { int gpu; char key[64], value[64]; } Line;

static struct device devices[GPUS_MAX];
static struct event_set the_event_set;
static Line lines[LINES_MAX];
static int line_count, initialized;
static atomic_int hanging;
static Number loaded_serial;
static struct stat file_seen;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* --- the state file --------------------------------------------------------------------------- */

static void read_lines(void) {
    const char *path = getenv("FAKE_NVML_STATE");
    struct stat now;
    FILE *file;
    if (!path || stat(path, &now)) {
        line_count = 0;
        memset(&file_seen, 0, sizeof file_seen);
        return;
    }
    if (now.st_ino == file_seen.st_ino && now.st_size == file_seen.st_size
        && !memcmp(&now.st_mtim, &file_seen.st_mtim, sizeof now.st_mtim)) return;
    if (!(file = fopen(path, "r"))) return;
    for (line_count = 0; line_count < LINES_MAX; line_count++) {
        Line *line = &lines[line_count];
        if (fscanf(file, "%d %63s %63s", &line->gpu, line->key, line->value) != 3) break;
    }
    fclose(file);
    file_seen = now;
}

/* Copies the value and answers 1, or answers 0 when no line has the key. */
static int text(int gpu, const char *key, char *out) {
    int found = 0;
    pthread_mutex_lock(&lock);
    read_lines();
    for (int i = line_count - 1; i >= 0 && !found; i--)
        if ((lines[i].gpu == gpu || lines[i].gpu < 0) && !strcmp(lines[i].key, key)) {
            strcpy(out, lines[i].value);
            found = 1;
        }
    pthread_mutex_unlock(&lock);
    return found;
}

static Number number(int gpu, const char *key, Number otherwise) {
    char value[64];
    return text(gpu, key, value) ? strtoull(value, NULL, 10) : otherwise;
}

static unsigned device_count(void) { return (unsigned)number(-1, "count", 8); }

static void hang_if_told(int gpu, const char *name) {
    struct timespec moment = {0, 1000000};
    char key[64];
    snprintf(key, sizeof key, "hang.%s", name);
    hanging++;
    while (number(gpu, key, 0)) nanosleep(&moment, NULL);
    hanging--;
}

/* What every function does first. GPU -1 stands for the driver as a whole. */
static Status enter(int gpu, const char *name) {
    char key[64];
    Status status;
    hang_if_told(gpu, name);
    if (!initialized || number(-1, "reload", 0) != loaded_serial) return UNINITIALIZED;
    snprintf(key, sizeof key, "fail.%s", name);
    if ((status = (Status)number(gpu, key, number(gpu, "fail", 0)))) return status;
    return gpu >= 0 && number(gpu, "lost", 0) ? GPU_IS_LOST : SUCCESS;
}

#define ENTER(gpu) \
    do { Status refused = enter(gpu, __func__); if (refused) return refused; } while (0)

/* A function that answers one number of a GPU. */
#define READING(function, type, key, otherwise) \
    Status function(Device d, type *out) { \
        ENTER(d->index); \
        *out = (type)number(d->index, key, otherwise); \
        return SUCCESS; \
    }

/* --- the driver ------------------------------------------------------------------------------- */

Status nvmlInitWithFlags(unsigned flags) {
    Status status;
    (void)flags;
    hang_if_told(-1, __func__);
    if ((status = (Status)number(-1, "init", 0))) return status;
    loaded_serial = number(-1, "reload", 0);
    initialized = 1;
    return SUCCESS;
}

Status nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

/* To take the library away from under a call is the end of the process, here for certain. */
Status nvmlShutdown(void) {
    if (hanging) {
        fputs("nvmlShutdown while another call is under way\n", stderr);
        abort();
    }
    if (!initialized) return UNINITIALIZED;
    initialized = 0;
    return SUCCESS;
}

const char *nvmlErrorString(Status s) { return s ? "error" : "Success"; }

Status nvmlSystemGetDriverVersion(char *out, unsigned size) {
    ENTER(-1);
    snprintf(out, size, "550.54.15");
    return SUCCESS;
}

Status nvmlDeviceGetCount_v2(unsigned *out) { ENTER(-1); *out = device_count(); return SUCCESS; }

Status nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *out) {
    if (index >= device_count() || index >= GPUS_MAX) return INVALID_ARGUMENT;
    ENTER((int)index);
    devices[index].index = (int)index;
    *out = &devices[index];
    return SUCCESS;
}

/* --- what a GPU is ---------------------------------------------------------------------------- */

Status nvmlDeviceGetName(Device d, char *out, unsigned size) {
    char name[64];
    ENTER(d->index);
    snprintf(out, size, "%s", text(d->index, "name", name) ? name : "NVIDIA H100 80GB HBM3");
    return SUCCESS;
}

Status nvmlDeviceGetUUID(Device d, char *out, unsigned size) {
    char uuid[64];
    ENTER(d->index);
    if (text(d->index, "uuid", uuid)) snprintf(out, size, "%s", uuid);
    else snprintf(out, size, "GPU-00000000-0000-0000-0000-%012d", d->index);
    return SUCCESS;
}

typedef struct {
    char bus_id_legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
} PciInfo;
Status nvmlDeviceGetPciInfo_v3(Device d, PciInfo *out) {
    ENTER(d->index);
    memset(out, 0, sizeof *out);
    out->bus = 0x3bu + (unsigned)d->index;
    snprintf(out->bus_id, sizeof out->bus_id, "00000000:%02X:00.0", out->bus);
    snprintf(out->bus_id_legacy, sizeof out->bus_id_legacy, "0000:%02X:00.0", out->bus);
    return SUCCESS;
}

typedef struct { Number total, free, used; } Memory;
Status nvmlDeviceGetMemoryInfo(Device d, Memory *out) {
    ENTER(d->index);
    out->total = number(d->index, "total", 85520809984ULL);
    out->used = number(d->index, "used", 1000);
    out->free = out->total - out->used;
    return SUCCESS;
}

/* --- how a GPU is ----------------------------------------------------------------------------- */

Status nvmlDeviceGetTemperature(Device d, int sensor, unsigned *out) {
    (void)sensor;
    ENTER(d->index);
    *out = (unsigned)number(d->index, "temp", 45);
    return SUCCESS;
}

READING(nvmlDeviceGetPowerUsage, unsigned, "power_mw", 300000)

typedef struct { unsigned gpu, memory; } Utilization;
Status nvmlDeviceGetUtilizationRates(Device d, Utilization *out) {
    ENTER(d->index);
    out->gpu = (unsigned)number(d->index, "util", 90);
    out->memory = 10;
    return SUCCESS;
}

/* kind 0 = corrected, 1 = uncorrected; counter 0 = since the driver was loaded, 1 = lifetime (both
 * the same here). */
Status nvmlDeviceGetTotalEccErrors(Device d, int kind, int counter, Number *out) {
    (void)counter;
    ENTER(d->index);
    *out = number(d->index, kind ? "ecc_dbe" : "ecc_sbe", 0);
    return SUCCESS;
}

READING(nvmlDeviceGetRetiredPagesPendingStatus, unsigned, "retired_pending", 0)
READING(nvmlDeviceGetCurrentClocksThrottleReasons, Number, "reasons", 0)
READING(nvmlDeviceGetPcieReplayCounter, unsigned, "pcie_replays", 0)

#ifndef OLD_DRIVER

Status nvmlSystemGetCudaDriverVersion_v2(int *out) { ENTER(-1); *out = 12040; return SUCCESS; }

typedef struct { unsigned version; int sensor, celsius; } Temperature;
Status nvmlDeviceGetTemperatureV(Device d, Temperature *out) {
    ENTER(d->index);
    out->celsius = (int)number(d->index, "temp", 45);
    return SUCCESS;
}

/* threshold 1 = where the hardware slows the clocks down. */
Status nvmlDeviceGetTemperatureThreshold(Device d, int threshold, unsigned *out) {
    ENTER(d->index);
    *out = (unsigned)number(d->index, threshold == 1 ? "slowdown" : "shutdown", 87);
    return SUCCESS;
}

Status nvmlDeviceGetRemappedRows(Device d, unsigned *corrected, unsigned *uncorrected,
                                 unsigned *pending, unsigned *failed) {
    ENTER(d->index);
    *corrected = (unsigned)number(d->index, "remap_cor", 0);
    *uncorrected = (unsigned)number(d->index, "remap_unc", 0);
    *pending = (unsigned)number(d->index, "remap_pending", 0);
    *failed = (unsigned)number(d->index, "remap_failed", 0);
    return SUCCESS;
}

READING(nvmlDeviceGetCurrentClocksEventReasons, Number, "reasons", 0)

Status nvmlDeviceGetNvLinkState(Device d, unsigned link, unsigned *out) {
    ENTER(d->index);
    if (link >= number(d->index, "links", 18)) return INVALID_ARGUMENT;
    *out = 1;
    return SUCCESS;
}

Status nvmlDeviceGetNvLinkErrorCounter(Device d, unsigned link, int counter, Number *out) {
    char key[64];
    ENTER(d->index);
    if (link >= number(d->index, "links", 18)) return INVALID_ARGUMENT;
    snprintf(key, sizeof key, "link.%u.%d", link, counter);
    *out = number(d->index, key, 0);
    return SUCCESS;
}

#endif

/* --- events ----------------------------------------------------------------------------------- */

/* Finds the event number `wanted`, from 0, in the file; answers how many there are. */
static int find_event(int wanted, int *gpu, Number *xid) {
    int count = 0;
    pthread_mutex_lock(&lock);
    read_lines();
    for (int i = 0; i < line_count; i++)
        if (!strcmp(lines[i].key, "xid") && count++ == wanted) {
            *gpu = lines[i].gpu;
            *xid = strtoull(lines[i].value, NULL, 10);
        }
    pthread_mutex_unlock(&lock);
    return count;
}

Status nvmlEventSetCreate(EventSet *out) {
    int gpu;
    Number xid;
    ENTER(-1);
    the_event_set.given = find_event(-1, &gpu, &xid);
    *out = &the_event_set;
    return SUCCESS;
}

Status nvmlEventSetFree(EventSet set) { (void)set; return SUCCESS; }

Status nvmlDeviceRegisterEvents(Device d, Number types, EventSet set) {
    (void)types, (void)set;
    ENTER(d->index);
    return SUCCESS;
}

typedef struct {
    Device device;
    Number type, xid;
    unsigned gpu_instance, compute_instance;
} EventData;
Status nvmlEventSetWait_v2(EventSet set, EventData *out, unsigned time_max_ms) {
    int gpu = 0;
    Number xid = 0;
    ENTER(-1);
    if (find_event(set->given, &gpu, &xid) <= set->given) {
        struct timespec wait = {0, 1000000L * (time_max_ms < 100 ? time_max_ms : 100)};
        nanosleep(&wait, NULL);
        return TIMEOUT;
    }
    set->given++;
    out->device = gpu >= 0 && gpu < GPUS_MAX ? &devices[gpu] : NULL;
    out->type = XID_CRITICAL_ERROR;
    out->xid = xid;
    out->gpu_instance = out->compute_instance = 0xFFFFFFFFu;
    return SUCCESS;
}
