/* Lease and fence of one job, as the scripts in app/jobs/lua have them; docs/queue-model.md says what came of it.
 *
 * Every script is one atomic step on what Redis has. Workers stall, crash and lose answers, the caller may cancel, and
 * Redis may crash and come back with what its disk has, which is older. All faults come out of a budget, so every
 * history comes to an end.
 *
 * Variants that are broken on purpose: -DNO_FENCE, -DNO_OWNER, -DDELETE_LATER, -DCANCEL_LATE, -DCOUNT_NOTHING, and
 * -DUNSAVED for a job that Redis accepted before it was on the disk.
 */
#ifndef FAULTS
#define FAULTS 2          /* stalls, crashes, lost answers, attempts handed back */
#endif
#ifndef REDIS_CRASHES
#define REDIS_CRASHES 1
#endif
#define WORKERS 2
#define MAX_DELIVERIES 2

mtype = { unknown, queued, running, succeeded, failed, canceled };

typedef Record {
  mtype state = queued;
  byte fence;             /* number of attempts */
  byte owner;             /* instance of the latest attempt, 0 for none */
  byte deliveries;
  bool cancel_requested;
  bool lapsed;            /* the lease has run out */
  byte results;           /* bit F: a result is stored under fence F */
  byte commits;           /* how often it succeeded */
  byte excused            /* attempts that do not count: handed back, or their answers were lost */
}

Record redis;
Record disk;
bool is_saved = true;
byte faults = FAULTS;
byte crashes = REDIS_CRASHES;

/* What workers believe. An instance is a process: a worker that comes back is another one of the same name. */
byte instance[WORKERS];
bool holds[WORKERS];
byte held_fence[WORKERS];

#define TERMINAL (redis.state != queued && redis.state != running)
#define BIT(fence) (1 << (fence))
#define NAME(owner) (((owner) - 1) % WORKERS)
#define WORKS_ON_IT(w) (holds[w] && held_fence[w] == redis.fence && instance[w] == redis.owner)
#define IS_WORKED_ON (WORKS_ON_IT(0) || WORKS_ON_IT(1))

/* What a claim may give out: a queued job, one whose lease ran out, one that this worker has and does not know of. */
#define IS_UNKNOWN(w) (redis.state == running && redis.owner && NAME(redis.owner) == w && !holds[w])
#define IS_FREE(w) (redis.state == queued || (redis.state == running && (redis.lapsed || IS_UNKNOWN(w))))

/* Whether a worker's claim is the one that counts. */
#ifdef NO_FENCE
#define IS_HELD(w) (redis.state == running)
#else
#ifdef NO_OWNER
#define IS_HELD(w) (redis.state == running && redis.fence == held_fence[w])
#else
#define IS_HELD(w) (redis.state == running && redis.fence == held_fence[w] && redis.owner == instance[w])
#endif
#endif

/* Whether somebody may come to commit under that fence: after a crash of Redis a fence is given out once more. */
#define MAY_COME(w) \
  (held_fence[w] > redis.fence || (held_fence[w] == redis.fence && redis.state == running))

inline copy(from, to) {
  to.state = from.state; to.fence = from.fence; to.owner = from.owner; to.deliveries = from.deliveries;
  to.cancel_requested = from.cancel_requested; to.lapsed = from.lapsed; to.results = from.results;
  to.commits = from.commits; to.excused = from.excused
}

inline conclude(end) {
  redis.state = end; redis.owner = 0; redis.lapsed = false; is_saved = false
}

inline requeue(counts) {
  if
  :: redis.cancel_requested -> conclude(canceled)
  :: else ->
     redis.deliveries = redis.deliveries - (1 - counts); redis.excused = redis.excused + (1 - counts);
     redis.state = queued; redis.owner = 0; redis.lapsed = false; is_saved = false
  fi
}

inline claim(w) {
  if
  :: redis.cancel_requested -> conclude(canceled)
  :: else ->
     counted = !(redis.state == running && redis.owner == instance[w]);  /* else the answer got lost */
     if
     :: counted && redis.deliveries >= MAX_DELIVERIES -> conclude(failed)
     :: else ->
        redis.state = running; redis.lapsed = false; redis.owner = instance[w]; is_saved = false;
        redis.fence++;
        redis.excused = redis.excused + (1 - counted);
#ifndef COUNT_NOTHING
        redis.deliveries = redis.deliveries + counted;
#endif
        assert(redis.fence < 8);                                         /* bits of `results` */
        assert(redis.fence - redis.excused <= MAX_DELIVERIES);           /* retries are bounded */
        if
        :: holds[w] = true; held_fence[w] = redis.fence
        :: faults > 0 -> faults--                                        /* the answer is lost */
        fi
     fi
  fi
}

inline commit(w) {
  atomic {
    is_refused = false;
    if
    :: redis.state == succeeded && redis.fence == held_fence[w]          /* said before, and the answer was lost */
    :: else ->
       if
       :: IS_HELD(w) && (redis.results & BIT(held_fence[w])) ->
#ifndef CANCEL_LATE
          if
          :: redis.cancel_requested -> conclude(canceled); is_refused = true
          :: else ->
#endif
             assert(redis.owner == instance[w]);                         /* no stale worker commits */
             conclude(succeeded);
             redis.commits++
#ifndef CANCEL_LATE
          fi
#endif
       :: else ->
          is_refused = true
       fi
    fi;
#ifndef DELETE_LATER
    if                                                                   /* deletes its result, unless somebody else */
    :: is_refused && !MAY_COME(w) -> delete(w)                           /* may still commit under this fence */
    :: else
    fi
#endif
  }
}

inline delete(w) {
  redis.results = redis.results & ~BIT(held_fence[w]); is_saved = false
}

inline crash(w) {
  faults--; holds[w] = false; instance[w] = instance[w] + WORKERS
}

proctype Worker(byte w) {
  bool counted, is_refused;
end:
  do
  :: atomic { !holds[w] && IS_FREE(w) -> claim(w) }
  :: atomic { holds[w] && redis.lapsed ->                                /* a renewal that comes late, or is refused */
       if
       :: IS_HELD(w) -> redis.lapsed = false; is_saved = false
       :: else -> holds[w] = false
       fi }
  :: atomic { holds[w] && IS_HELD(w) && redis.cancel_requested -> conclude(canceled); holds[w] = false }
  :: atomic { holds[w] && faults > 0 ->                                  /* gives up: tried again, or handed back */
       faults--;
       if
       :: !IS_HELD(w)
       :: IS_HELD(w) && redis.deliveries < MAX_DELIVERIES -> requeue(1)
       :: IS_HELD(w) && redis.deliveries >= MAX_DELIVERIES -> conclude(failed)
       :: IS_HELD(w) -> requeue(0)
       fi;
       holds[w] = false }
  :: atomic { holds[w] ->                                                /* stores its result, then commits it */
       redis.results = redis.results | BIT(held_fence[w]); is_saved = false };
     if
     :: atomic { faults > 0 -> crash(w) }; goto end
     :: true
     fi;
again:
     commit(w);
     if
     :: atomic { faults > 0 -> faults-- }; goto again                    /* the answer is lost: says it again */
     :: true
     fi;
     atomic {
#ifdef DELETE_LATER
       if
       :: is_refused -> delete(w)
       :: else
       fi;
#endif
       holds[w] = false }
  :: atomic { faults > 0 -> crash(w) }
  od
}

proctype Time() {                 /* a lease runs out when nobody works on the job, or when its worker stalls */
end:
  do
  :: atomic { redis.state == running && !redis.lapsed && !IS_WORKED_ON -> redis.lapsed = true }
  :: atomic { redis.state == running && !redis.lapsed && IS_WORKED_ON && faults > 0 -> faults--; redis.lapsed = true }
  od
}

proctype Caller() {
  if
  :: atomic {
       if
       :: redis.state == queued -> conclude(canceled)
       :: redis.state == running -> redis.cancel_requested = true; is_saved = false
       :: TERMINAL
       fi }
  :: true
  fi
}

proctype Disk() {                 /* written now and then; a crash forgets what is not on it */
end:
  do
  :: atomic { !is_saved -> copy(redis, disk); is_saved = true }
  :: is_saved -> skip             /* so that standing still for ever counts as a history, and is found */
  :: atomic { !is_saved && crashes > 0 -> crashes--; copy(disk, redis); is_saved = true }
  od
}

proctype Monitor() {              /* may look at any moment */
end:
  atomic {
    (redis.commits > 1
     || (redis.state == succeeded && !(redis.results & BIT(redis.fence)))
     || (redis.state == succeeded && redis.cancel_requested)) -> assert(false) }
}

init {
  atomic {
    instance[0] = 1; instance[1] = 2;
#ifdef UNSAVED
    disk.state = unknown; is_saved = false;
#else
    copy(redis, disk);
#endif
    run Worker(0); run Worker(1); run Time(); run Caller(); run Disk(); run Monitor()
  }
}

ltl ends { <> [] (redis.state == succeeded || redis.state == failed || redis.state == canceled) }
