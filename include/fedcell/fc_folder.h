/* fc_folder.h - folders of files that appear whole or not at all.
 *
 *   FC_TRY(fc_folder_begin("cache/base-1234", &aside));      // an empty folder beside it
 *   ... write files into aside ...
 *   FC_TRY(fc_folder_publish(&aside, "cache/base-1234", false));
 *
 * All Local: one rank does it. IO with the path and the reason. */
#ifndef FC_FOLDER_H
#define FC_FOLDER_H

#include "fedcell/fc_err.h"
#include <stdbool.h>

/* mkdir -p of the folder that holds `path`. */
fc_err fc_folder_make_parents(const char *path);
/* A folder of files; nothing if there is none of that name. */
void fc_folder_remove(const char *folder);
/* An empty folder beside `final`, of a name that no other run has; *aside: caller frees, with
 * fc_folder_publish or fc_folder_drop. NULL on failure. */
fc_err fc_folder_begin(const char *final, char **aside);
/* Renames it. If another run was faster, its folder stands, as it holds the same; replace: what
 * lies there goes. *aside is NULL after, also on failure. */
fc_err fc_folder_publish(char **aside, const char *final, bool replace);
void fc_folder_drop(char **aside); /* removes it; accepts NULL */

#endif
