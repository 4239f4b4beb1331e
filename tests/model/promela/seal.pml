/* One secret: mint, seal, check, re-encrypt, mark, retire. DESIGN, section 5, steps 1 to 4.
 *
 * Writers are processes that go from call to call, as a program does. `current[me]` says that a writer holds the present
 * resourceVersion of the object: reading sets it, anybody's write clears that of all others, and only who has it may
 * write (compare-and-swap). A writer plans with any former version of the instance, `history 0..now`; who is restarted
 * may finish a job by any former state of the object that was ever stored (`ever`, `shown`).
 *
 * Take a rule out with -DNO_<RULE>. Sizes: -DKEYS, -DPASSWORDS, -DWRITERS. Source: -DKEPT, -DREQUEST, else hand-over.
 * -DPROGRESS: at any moment all becomes calm (no crash, no user, fresh views); then it must settle (weak fairness).
 * No test runs that here yet: spin reports a cycle, and nobody has looked whether model or claim is wrong.
 */
#ifndef KEYS
#define KEYS 3
#endif
#ifndef PASSWORDS
#define PASSWORDS 2
#endif
#ifndef WRITERS
#define WRITERS 2
#endif

#define BIT(n) (1 << (n))
#define SEALS(k, p) BIT(((k) - 1) * PASSWORDS + (p) - 1)

/* The instance: every version that there was. */
byte active_key[2 * KEYS];
byte recorded[2 * KEYS];
byte now;

/* The object: its key (0: never sealed), the password in it, the stuck mark (a key), Ready. */
byte key, sealed, mark;
bool ready;
short ever;
byte shown;
bool current[WRITERS];

byte source, given, accepted;

/* What the retirement's LIST showed, and the instance's version when it began. */
bool listed;
byte list_key, list_mark, list_begun;

bool calm, refuses;

#define ACTIVE active_key[now]
#define KNOWN(k, v) ((recorded[v] & BIT(k)) != 0)

/* Invariant 1 of section 9. */
inline safe() {
  assert(accepted == 0 || source >= accepted || (sealed >= accepted && key != 0 && KNOWN(key, now)))
}

#ifdef KEPT
#define CONSUMED (source == 0 || source == sealed)
#else
#define CONSUMED (source == 0)
#endif
#define ALONE (recorded[now] == BIT(ACTIVE))
#define NOTHING_ACCEPTED (accepted == 0 && !(key != 0 && KNOWN(key, now)))
#define STUCK (refuses && mark == ACTIVE && recorded[now] == (BIT(ACTIVE) | BIT(key)))
#define SETTLED (ACTIVE != 0 && CONSUMED && ((key == ACTIVE && ready && ALONE) || NOTHING_ACCEPTED || STUCK))

inline store(k, p, m, r) {
  key = k; sealed = p; mark = m; ready = r;
  for (w : 0 .. WRITERS - 1) { current[w] = (w == me) }
  w = 0;
  ever = ever | SEALS(k, p);
  if :: r -> shown = shown | BIT(p) :: else fi;
  safe()
}

inline forget() {
  read_at = 0; seen = 0; view = 0; by = 0; password = 0; current[me] = false
}

#define CRASHES :: atomic { !calm -> forget(); goto again }

/* Step 2: whether a key passes the check after the seal, by a read of the instance begun now. */
#ifdef NO_CHECK_AFTER_SEAL
#define PASSES(k) true
#else
#ifdef NO_CHECK_IS_FOR_ACTIVE
#define PASSES(k) KNOWN(k, now)
#else
#define PASSES(k) ((k) == ACTIVE)
#endif
#endif

/* Step 3: whether this view is older than what the object names. */
#ifdef NO_UNKNOWN_MARK_TOO
#define UNKNOWN(v) (key != 0 && !KNOWN(key, v))
#else
#define UNKNOWN(v) ((key != 0 && !KNOWN(key, v)) || (mark != 0 && !KNOWN(mark, v)))
#endif

#ifdef KEPT
#define NOTHING_TO_DELETE true
#else
#define NOTHING_TO_DELETE (source == 0 || source != password)
#endif

proctype Writer(byte me) {
  byte read_at, seen, view, by, password, w;

again:
  /* Begin: from the API server, or (a restart, an old cache) from what the object once was. */
  if
#ifdef NO_SOURCE_AFTER_OBJECT
  :: atomic { seen = source };
     if :: atomic { current[me] = true; read_at = now } CRASHES fi
#else
  :: atomic { current[me] = true; read_at = now };
     if :: atomic { seen = source } CRASHES fi
#endif
  :: atomic { !calm && ever != 0 ->
       select(by : 1 .. KEYS); select(password : 1 .. PASSWORDS);
       if :: ever & SEALS(by, password) -> goto check :: else -> forget(); goto again fi }
  :: atomic { !calm && shown != 0 ->
       select(password : 1 .. PASSWORDS);
       if :: shown & BIT(password) -> goto finish :: else -> forget(); goto again fi }
  fi;

  /* Decide, and the one write that it leads to. */
  if
  CRASHES
  :: atomic { !current[me] -> forget(); goto again }  /* 409 */
  :: atomic { current[me] ->
       if :: calm -> view = now :: !calm -> select(view : 0 .. now) fi;
#ifndef NO_UNKNOWN_MEANS_OLD_VIEW
       if
       :: view < read_at && UNKNOWN(view) -> select(view : read_at .. now)  /* read again, begun after the object */
       :: else
       fi;
#endif
       by = active_key[view];
       if
       :: by == 0 || (key == 0 && seen == 0) -> forget(); goto again
       :: else
       fi;
       if
       :: seen != 0 && (seen != sealed || !KNOWN(key, view)) -> goto seal
       :: !(seen != 0 && seen != sealed) && KNOWN(key, view) && key == by ->
            password = sealed;
            if :: ready -> goto finish :: !ready || !calm -> goto check fi
       :: !(seen != 0 && seen != sealed) && KNOWN(key, view) && key != by && !(calm && refuses) ->
            password = sealed;
            store(by, sealed, 0, ready);
            if :: ready -> forget(); goto again :: else -> goto check fi
       :: !(seen != 0 && seen != sealed) && KNOWN(key, view) && key != by && !(calm && !refuses) ->
            if
            :: seen != 0 -> goto seal
            :: else ->
#ifndef NO_STUCK_MARK
                 if :: mark != by -> store(key, sealed, by, ready) :: else fi;
#endif
                 forget(); goto again
            fi
       :: seen == 0 && !KNOWN(key, view) -> forget(); goto again  /* Stalled/UnknownDataKey */
       fi;
seal:  password = seen;
       store(by, seen, 0, false)
     }
  fi;

check:
  if
  CRASHES
  :: atomic { PASSES(by) -> by = 0; seen = 0; read_at = 0; view = 0 }
  :: atomic { !PASSES(by) -> forget(); goto again }
  fi;

finish:
  /* Ready and the delete, in either order. */
  do
  CRASHES
  :: atomic { current[me] && !ready -> store(key, sealed, mark, true) }
#ifndef KEPT
#ifdef NO_DELETE_PRECONDITION
  :: atomic { source != 0 ->
#else
  :: atomic { source != 0 && source == password ->
#endif
#ifdef REQUEST
       if :: source > accepted -> accepted = source :: else fi;  /* answered */
#endif
       source = 0; safe() }
#endif
  :: atomic { calm && (!current[me] || ready) && NOTHING_TO_DELETE -> forget(); goto again }
  od
}

#ifdef NO_LIST_AFTER_MARK
#define LIST_AFTER_MARK(k) true
#define MAY_LIST (ACTIVE != 0)
#else
#define LIST_AFTER_MARK(k) (KNOWN(k, list_begun) && active_key[list_begun] != (k))
#define MAY_LIST (recorded[now] != BIT(ACTIVE) && ACTIVE != 0)
#endif
#ifdef NO_STUCK_MARK
#define MARKED true
#else
#ifdef NO_MARK_NAMES_ACTIVE
#define MARKED (list_mark != 0)
#else
#define MARKED (list_mark == ACTIVE)
#endif
#endif

/* Step 4. Of several that retire, the one whose compare-and-swap succeeds is the one to follow. */
proctype Retirement() {
  byte k;
  do
  :: atomic { MAY_LIST && (!listed || list_key != key || list_mark != mark || list_begun != now) ->
       listed = true; list_key = key; list_mark = mark; list_begun = now }
  :: atomic { listed && recorded[now] != BIT(ACTIVE) && ACTIVE != 0 ->
       select(k : 1 .. KEYS);
       if
       :: KNOWN(k, now) && k != ACTIVE && list_key != k && LIST_AFTER_MARK(k) &&
          (list_key == 0 || list_key == ACTIVE || MARKED) ->
            active_key[now + 1] = ACTIVE;
            recorded[now + 1] = recorded[now] & ~BIT(k);
            now++;
            safe()
       :: else
       fi;
       k = 0 }
  od
}

inline mint() {
  active_key[now + 1] = ACTIVE + 1;
  recorded[now + 1] = recorded[now] | BIT(ACTIVE + 1);
  now++
}

proctype Others() {
  do
  :: atomic { ACTIVE == 0 -> mint() }
  :: atomic { !calm && ACTIVE != 0 && ACTIVE < KEYS -> mint() }  /* somebody changes the root key */
#ifdef REQUEST
  :: atomic { !calm && given < PASSWORDS && source == 0 -> given++; source = given }
  :: atomic { source != 0 && !calm -> source = 0 }               /* the client goes away */
#else
  :: atomic { !calm && given < PASSWORDS -> given++; source = given; accepted = given }
#endif
#ifdef KEPT
  :: atomic { !calm && source != 0 && (shown & BIT(source)) -> source = 0; safe() }
#endif
#ifdef PROGRESS
  :: atomic { !calm -> calm = true; if :: refuses = true :: refuses = false fi }
#endif
  od
}

init {
  byte n;
  atomic {
#ifndef REQUEST
    source = 1; given = 1; accepted = 1;
#endif
    for (n : 0 .. WRITERS - 1) { run Writer(n) }
    n = 0;
    run Retirement(); run Others()
  }
}

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
