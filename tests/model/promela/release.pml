/* Which root key may be let go: mint, bindings, release. DESIGN, section 5, steps 1 and 5, and section 3, from their words.
 *
 * Three bindings: 0 and 1 name root key A, 2 names root key B; besides the global key. Writers are processes;
 * `current[me]` says that a writer holds the present resourceVersion of the instance: who has it not gets a 409. What a
 * writer LISTed of the bindings stays with it, of any age. A binding's `life` stands for its uid.
 *
 * Take a rule out with -DNO_<RULE>. Sizes: -DLIVES0, -DLIVES1, -DLIVES2 (how often each is made), -DWRITERS.
 * -DFORBID: globalKeyPolicy Forbid, else Allow. -DPROGRESS: at any moment
 * all becomes calm (no crash, no user); then it must settle (weak fairness).
 */
#ifndef LIVES0
#define LIVES0 1
#endif
#ifndef LIVES1
#define LIVES1 1
#endif
#ifndef LIVES2
#define LIVES2 1
#endif
#ifndef WRITERS
#define WRITERS 2
#endif
#define BINDINGS 3
#define DATA_KEYS 3  /* recorded at once; production says 8 */

/* Root keys. */
#define NOTHING 0
#define GLOBAL 1
#define A 2
#define B 3
#define ROOT(b) ((b) == 2 -> B : A)

/* In force, where it is no binding. */
#define BY_NOBODY 4
#define BY_GLOBAL 5

#define ABSENT 0
#define NEW 1       /* without our finalizer: gone at once when deleted */
#define HELD 2
#define DELETING 3  /* our finalizer still on */

byte phase[BINDINGS];
byte life[BINDINGS];

/* The instance: the root key of the Active data key, and how many Retiring ones there are under each root key. */
byte active_under;
byte retiring[4];

bool current[WRITERS];
bool calm;

#define RETIRING (retiring[GLOBAL] + retiring[A] + retiring[B])
#define NEEDED(r) (active_under == (r) || retiring[r] > 0)
#define IS_HELD(b) (phase[b] >= HELD)

inline safe() {
  assert(!NEEDED(A) || IS_HELD(0) || IS_HELD(1));
  assert(!NEEDED(B) || IS_HELD(2))
}

/* The instance is written: who else had read it may not write from it. */
inline written() {
  for (w : 0 .. WRITERS - 1) { current[w] = false }
  w = 0
}

inline forget() {
  listed[0] = 0; listed[1] = 0; listed[2] = 0;
  uid[0] = 0; uid[1] = 0; uid[2] = 0;
  ruling = 0; gone = 0; current[me] = false
}

inline list() {
  for (b : 0 .. BINDINGS - 1) { listed[b] = phase[b]; uid[b] = life[b] }
  b = 0
}

#define CRASHES :: atomic { !calm -> forget(); goto again }

#define USABLE(b) (listed[b] == HELD)
#define INCUMBENT(b) (USABLE(b) && ROOT(b) == active_under)
#define NO_INCUMBENT (!INCUMBENT(0) && !INCUMBENT(1) && !INCUMBENT(2))
#define NONE_USABLE (!USABLE(0) && !USABLE(1) && !USABLE(2))
#define STAYS(b) (listed[b] == DELETING && ROOT(b) == active_under)
#define NONE_STAYS (!STAYS(0) && !STAYS(1) && !STAYS(2))

/* Section 3: the incumbent while it is usable, else a Standby (any: no rule rests on which), else by the policy. */
inline decide() {
  if
  :: INCUMBENT(0) -> ruling = 0
  :: INCUMBENT(1) -> ruling = 1
  :: INCUMBENT(2) -> ruling = 2
  :: NO_INCUMBENT && USABLE(0) -> ruling = 0
  :: NO_INCUMBENT && USABLE(1) -> ruling = 1
  :: NO_INCUMBENT && USABLE(2) -> ruling = 2
#ifdef FORBID
  :: NONE_USABLE && STAYS(0) -> ruling = 0
  :: NONE_USABLE && STAYS(1) -> ruling = 1
  :: NONE_USABLE && STAYS(2) -> ruling = 2
  :: NONE_USABLE && NONE_STAYS -> ruling = BY_NOBODY
#else
  :: NONE_USABLE -> ruling = BY_GLOBAL
#endif
  fi
}

#define RULES_UNDER (ruling < BINDINGS -> ROOT(ruling) : (ruling == BY_GLOBAL -> GLOBAL : NOTHING))

/* Step 5: the binding in force names the same root key, and is not being deleted itself. */
#ifdef NO_LIVE_GROUND
#define GROUND(b) (ruling < BINDINGS && ROOT(ruling) == ROOT(b))
#else
#define GROUND(b) (ruling < BINDINGS && ROOT(ruling) == ROOT(b) && listed[ruling] == HELD)
#endif
#define RELEASABLE(b) (listed[b] == DELETING && ruling != (b) && (!NEEDED(ROOT(b)) || GROUND(b)))

#ifdef NO_FINALIZER_BY_UID
#define SAME(b) true
#else
#define SAME(b) (life[b] == uid[b])
#endif

proctype Writer(byte me) {
  byte listed[BINDINGS], uid[BINDINGS];
  byte ruling, gone, w, b;

again:
#ifdef NO_FRESH_LIST
  atomic { list() };
  if :: atomic { current[me] = true } CRASHES fi;
#else
  atomic { current[me] = true };
  if :: atomic { list() } CRASHES fi;
#endif

  /* Decide, and the one write that it leads to. */
  if
  CRASHES
  :: atomic { !current[me] -> forget(); goto again }  /* 409 */
  :: atomic { current[me] ->
       decide();
       if
       :: RULES_UNDER != NOTHING && RULES_UNDER != active_under && RETIRING + (active_under != NOTHING) < DATA_KEYS ->
            if :: active_under != NOTHING -> retiring[active_under]++ :: else fi;
            active_under = RULES_UNDER;
            written(); safe(); forget(); goto again
       :: RELEASABLE(0) -> gone = 0
       :: RELEASABLE(1) -> gone = 1
       :: RELEASABLE(2) -> gone = 2
       :: else -> forget(); goto again
       fi;
#ifndef NO_WRITE_BEFORE_FINALIZER
       written();
#endif
       b = uid[gone]; w = gone;
       forget();
       gone = w; uid[gone] = b; w = 0; b = 0
     }
  fi;

  if
  CRASHES
  :: atomic {
       if
       :: SAME(gone) && phase[gone] == DELETING -> phase[gone] = ABSENT; safe()
       :: SAME(gone) && phase[gone] == HELD -> phase[gone] = NEW; safe()
       :: else
       fi;
       forget(); goto again }
  fi
}

/* Users, our finalizer that comes onto a binding, and secrets that have moved away from a Retiring key (seal.pml). */
proctype Others() {
  byte w;
  do
  :: atomic { !calm && phase[0] == ABSENT && life[0] < LIVES0 -> life[0]++; phase[0] = NEW }
  :: atomic { !calm && phase[1] == ABSENT && life[1] < LIVES1 -> life[1]++; phase[1] = NEW }
  :: atomic { !calm && phase[2] == ABSENT && life[2] < LIVES2 -> life[2]++; phase[2] = NEW }
  :: atomic { !calm && phase[0] == NEW -> phase[0] = ABSENT }
  :: atomic { !calm && phase[1] == NEW -> phase[1] = ABSENT }
  :: atomic { !calm && phase[2] == NEW -> phase[2] = ABSENT }
  :: atomic { !calm && phase[0] == HELD -> phase[0] = DELETING }
  :: atomic { !calm && phase[1] == HELD -> phase[1] = DELETING }
  :: atomic { !calm && phase[2] == HELD -> phase[2] = DELETING }
  :: atomic { phase[0] == NEW -> phase[0] = HELD }
  :: atomic { phase[1] == NEW -> phase[1] = HELD }
  :: atomic { phase[2] == NEW -> phase[2] = HELD }
  :: atomic { retiring[GLOBAL] > 0 -> retiring[GLOBAL]--; written() }
  :: atomic { retiring[A] > 0 -> retiring[A]--; written() }
  :: atomic { retiring[B] > 0 -> retiring[B]--; written() }
#ifdef PROGRESS
  :: atomic { !calm -> calm = true }
#endif
  od
}

init {
  byte n;
  atomic {
    for (n : 0 .. WRITERS - 1) { run Writer(n) }
    n = 0;
    run Others()
  }
}

#define ANY(p) (phase[0] == (p) || phase[1] == (p) || phase[2] == (p))
#define A_LIVES (phase[0] == HELD || phase[1] == HELD)
#define B_LIVES (phase[2] == HELD)
#ifdef FORBID
/* The last one stays until another takes over; nothing else is left behind. */
#define SETTLED_WITHOUT (active_under == NOTHING -> !ANY(DELETING) : !NEEDED(GLOBAL))
#define ONE_STAYS (active_under == B -> phase[0] != DELETING && phase[1] != DELETING : phase[2] != DELETING)
#else
#define SETTLED_WITHOUT (active_under == GLOBAL && !ANY(DELETING))
#define ONE_STAYS true
#endif
#define SETTLED_WITH (((active_under == A && A_LIVES) || (active_under == B && B_LIVES)) && !ANY(DELETING))
#define SETTLED (RETIRING == 0 && !ANY(NEW) && (A_LIVES || B_LIVES -> SETTLED_WITH : SETTLED_WITHOUT && ONE_STAYS))

#ifdef PROGRESS
never {
  do
  :: true
  :: calm && !(SETTLED) -> break
  od;
accept:
  do
  :: calm && !(SETTLED)
  od
}
#endif
